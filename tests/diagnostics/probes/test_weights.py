import numpy as np
import pytest

from tftrain.diagnostics.probes.weight_stats import weight_norms


def test_by_hand(shelf):
    params, updates = (
        {"a": [[3.0], [4.0]], "b": [0.0, 0.0]},
        {"a": [[0.3], [-0.4]], "b": [1.0, 0.0]},
    )
    scalars = shelf.signals_of(
        weight_norms(), params=params, updates=updates
    ).scalars
    assert scalars == {
        "weight_norm/a": 5,
        "weight_norm/b": 0,
        "update_ratio/a": pytest.approx(0.1),
    }


def test_against_numpy(shelf):
    random = np.random.default_rng(0)
    params = {name: random.normal(size=(7, 5)) for name in "abc"}
    updates = {name: random.normal(size=(7, 5)) / 1000 for name in "abc"}
    scalars = shelf.signals_of(
        weight_norms(), params=params, updates=updates
    ).scalars
    for name in params:  # sums of 35 squares in float32
        size = np.linalg.norm(params[name])
        assert scalars[f"weight_norm/{name}"] == pytest.approx(size, rel=1e-6)
        assert scalars[f"update_ratio/{name}"] == pytest.approx(
            np.linalg.norm(updates[name]) / size, rel=1e-6
        )
