import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Moment
from tftrain.probes.histograms import gradient_histograms


def signals_of(axis, **grads):
    probe = gradient_histograms(axis)

    @tf.function
    def measure(raw):
        return probe.measure(Moment(0.0, (), [], raw, [], [], tuple(grads)))

    raw = [tf.constant(grad, tf.float32) for grad in grads.values()]
    return probe.read(tf.nest.map_structure(lambda tensor: tensor.numpy(), measure(raw)))


def half_octave_twin(values):
    """Counts by (1 or 1.5) times powers of two, from the definition."""
    sizes = np.abs(values.astype(np.float64))
    edges = np.sort(np.concatenate([2.0 ** np.arange(-126, 129), 1.5 * 2.0 ** np.arange(-126, 128)]))
    counts = np.bincount(np.searchsorted(edges, sizes, side="right") - 1, minlength=len(edges) - 1)
    first, last = np.flatnonzero(counts)[[0, -1]]
    return np.log10(edges[first : last + 1]), np.log10(edges[first + 1 : last + 2]), counts[first : last + 1]


def test_log10_golden_numbers():
    signals = signals_of("log10", w=[1.0, -1.25, 1.5, 0.0, 4.0])
    rows = signals.histograms["gradients/w"]
    np.testing.assert_allclose(rows[:, 0], np.log10([1, 1.5, 2, 3, 4]), atol=1e-7)
    np.testing.assert_allclose(rows[:, 1], np.log10([1.5, 2, 3, 4, 6]), atol=1e-7)
    np.testing.assert_array_equal(rows[:, 2], [2, 1, 0, 0, 1])
    assert signals.scalars == {"zero_grad_fraction": 0.2, "nonfinite_grads": 0}


def test_log10_against_numpy_over_all_magnitudes():
    random = np.random.default_rng(0)
    values = (random.choice([-1, 1], 5000) * 10 ** random.uniform(-37, 38, 5000)).astype(np.float32)
    rows = signals_of("log10", w=values.reshape(50, 100)).histograms["gradients/w"]
    left, right, counts = half_octave_twin(values)
    np.testing.assert_array_equal(rows[:, 2], counts)
    np.testing.assert_allclose(rows[:, 0], left, rtol=1e-6, atol=1e-7)  # float32 rows
    np.testing.assert_allclose(rows[:, 1], right, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("axis", ["log10", "value"])
def test_zeros_and_what_is_not_finite_are_counted_over_all_parameters(axis):
    signals = signals_of(
        axis, a=[0.0, -0.0, 1e-40, 2.0], b=[np.nan, np.inf, -np.inf, -np.nan, 3.0, 5.0], c=np.zeros((0, 2))
    )
    assert signals.scalars == {"zero_grad_fraction": 0.3, "nonfinite_grads": 4}
    assert signals.histograms["gradients/b"][:, 2].sum() == 2
    assert "gradients/c" not in signals.histograms


def test_histograms_of_nothing_are_left_out():
    assert list(signals_of("log10", w=[0.0, 0.0], v=[1.0]).histograms) == ["gradients/v"]
    assert list(signals_of("value", w=[np.nan, np.inf], v=[1.0]).histograms) == ["gradients/v"]


def test_value_against_numpy():
    values = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    spoiled = np.concatenate([values, [np.nan, np.inf]])
    rows = signals_of("value", w=spoiled).histograms["gradients/w"]
    counts, edges = np.histogram(values.astype(np.float64), bins=64)
    assert rows.shape == (64, 3) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, 2], counts)
    np.testing.assert_allclose(rows[:, 0], edges[:-1], rtol=1e-5, atol=1e-7)  # float32 rows
    assert rows[0, 0] == values.min() and rows[-1, 1] == values.max()


@pytest.mark.parametrize(("value", "low", "high"), [(2.0, 1, 3), (-4.0, -6, -2), (0.0, -0.5, 0.5)])
def test_a_single_value_stands_in_the_middle(value, low, high):
    rows = signals_of("value", w=[value] * 5).histograms["gradients/w"]
    assert (rows[0, 0], rows[-1, 1]) == (low, high)
    np.testing.assert_array_equal(rows[32], [value, value + (high - low) / 64, 5])


def test_the_whole_range_of_float32():
    largest = np.finfo(np.float32).max
    rows = signals_of("value", w=[-largest, 0.0, largest]).histograms["gradients/w"]
    assert np.isfinite(rows).all() and rows[:, 2].sum() == 3
