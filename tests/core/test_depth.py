import math

import numpy as np
import pytest

from tftrain.core.metric_aggregator import depth_ratio, hidden_ends

DENSE = {"kernel": np.zeros((2, 2)), "bias": np.zeros(2)}
RECURRENT = {
    "kernel": np.zeros((2, 6)),
    "recurrent_kernel": np.zeros((2, 6)),
    "bias": np.zeros(6),
}


def ends_of(*layers):
    named = {
        f"{index:03d}.layer/{name}": param
        for index, layer in enumerate(layers)
        for name, param in layer.items()
    }
    return hidden_ends(list(named), list(named.values()))


def test_first_and_last_hidden_kernel():
    assert ends_of(DENSE, DENSE, DENSE, DENSE) == (0, 4)
    norm = {"gamma": np.zeros(2), "beta": np.zeros(2)}
    assert ends_of(norm, DENSE, norm, DENSE, norm, DENSE) == (2, 6)
    assert ends_of(RECURRENT, RECURRENT, DENSE) == (0, 3)


@pytest.mark.parametrize(
    "layers",
    [
        (),
        (DENSE,),
        (DENSE, DENSE),
        (RECURRENT, DENSE),
        ({"scale": np.zeros(())},),
    ],
)
def test_a_shallow_model_has_none(layers):
    assert ends_of(*layers) is None


def test_depth_ratio():
    assert depth_ratio(np.float64([1e-3, 7, 10]), (0, 2)) == pytest.approx(1e-4)
    assert depth_ratio(np.float64([1e-38, 1e38]), (0, 1)) == pytest.approx(
        1e-76
    )
    assert depth_ratio(np.float64([math.inf, 1]), (0, 1)) == math.inf
    for norms in ([0, 0], [math.nan, 1], [1, math.nan]):
        assert math.isnan(depth_ratio(np.float64(norms), (0, 1)))
    least = float(np.finfo(np.float32).smallest_subnormal)
    assert depth_ratio(np.float64([0, 100]), (0, 1)) == pytest.approx(
        least / 100
    )
    assert depth_ratio(np.float64([100, 0]), (0, 1)) == pytest.approx(
        100 / least
    )
