import numpy as np
import pytest
import tensorflow as tf

from tftrain.optim.clipping import clip_percentile, percentile


@pytest.mark.parametrize("percent", [0.0, 10.0, 33.3, 50.0, 99.9, 100.0])
def test_the_percentile_of_numpy(percent):
    values = np.random.default_rng(0).lognormal(0, 4, 1000).astype(np.float32)
    for count in (1, 2, 3, 10, 11, 101, 999, 1000):
        found = percentile(
            tf.constant(values), tf.constant(count, tf.int64), percent
        )
        expected = np.percentile(values[:count].astype(np.float64), percent)
        np.testing.assert_allclose(
            found, expected, rtol=1e-6
        )  # two values and a share, each rounded to float32


def run(transform, sizes):
    """The norms after clipping, the limits and the last state."""
    state, norms, limits = transform.init([]), [], []
    for size in sizes:
        (grad,), state, told = transform.update(
            [tf.constant([0.0, size])], state, []
        )
        norms.append(float(grad[1]))
        limits.append(float(told["limit"]))
    return norms, limits, state


def test_a_history_by_hand():
    norms, limits, state = run(
        clip_percentile(percent=50.0, window=3), [4.0, 2.0, 8.0, 6.0, 1.0]
    )
    assert limits == [
        4,
        3,
        4,
        6,
        6,
    ]  # medians of 4 | 4 2 | 4 2 8 | 2 8 6 | 8 6 1
    assert norms == [4, 2, 4, 6, 1]
    np.testing.assert_array_equal(state["norms"], [6, 1, 8])
    assert state["count"] == 5


def test_the_history_holds_norms_before_clipping():
    norms, limits, _ = run(
        clip_percentile(percent=0.0), [1.0, 100.0, 0.5, 100.0]
    )
    assert limits == norms == [1, 1, 0.5, 0.5]


def test_a_limit_of_zero_leaves_zero():
    norms, limits, _ = run(clip_percentile(percent=0.0), [0.0, 5.0, 0.0])
    assert limits == norms == [0, 0, 0]
