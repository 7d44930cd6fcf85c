"""The gradient norms that a report draws: which layer, which step."""

from __future__ import annotations

import numpy as np

from tftrain.reporting.html.gradient_map import (
    LayerNorms,
    layer_norms,
    limit_points,
)
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.tensorboard.protocol import NONE

STEPS = np.array([1, 2, 4, 8])


def test_a_layer_has_the_norm_of_its_parameters_together():
    values = {
        "loss": [9, 9, 9, 9],
        "grad_norm": [5, 5, 5, 5],
        "grad_norm/000.a/kernel": [3, 0, np.nan, 1],
        "grad_norm/000.a/bias": [4, 0, 1, np.inf],
        "grad_norm/001.b.cell/kernel": [1, 2, 3, 4],
    }
    history = {
        name: Series(STEPS, np.array(row, float))
        for name, row in values.items()
    }
    data = layer_norms(history)
    assert data.layers == ["000.a", "001.b.cell"]
    np.testing.assert_array_equal(
        data.norms, [[5, 0, np.nan, np.inf], [1, 2, 3, 4]]
    )
    assert layer_norms({"loss": Series(STEPS, STEPS)}) is None


def test_a_layer_that_is_not_trained_at_first_has_no_norm_there():
    history = {
        "grad_norm/0.a/kernel": Series(STEPS, STEPS / 1),
        "grad_norm/1.b/kernel": Series(STEPS[2:], STEPS[2:] / 1),
    }
    norms = layer_norms(history).norms
    np.testing.assert_array_equal(norms, [[1, 2, 4, 8], [NONE, NONE, 4, 8]])


def test_no_spike_is_lost_where_points_are_merged():
    norms = np.ones((2, 6000))
    norms[0, 1234] = 50
    norms[1, 4321] = np.nan
    data = limit_points(LayerNorms(["a", "b"], np.arange(1, 6001), norms), 600)
    assert data.norms.shape == (2, 600)
    assert data.steps[0] == 10 and data.steps[-1] == 6000
    assert data.norms[0, 123] == 50 and (data.norms[0] == 50).sum() == 1
    assert np.flatnonzero(np.isnan(data.norms[1])).tolist() == [432]
