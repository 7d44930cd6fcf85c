import numpy as np
import pytest
import tensorflow as tf

from tftrain.probes import buckets


def in_graph(count, values):
    found = tf.function(count)(tf.constant(values, tf.float32))
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), found)


def log10_rows(values):
    return buckets.log10_rows(in_graph(buckets.half_octaves, values))


def value_rows(values):
    return buckets.value_rows(in_graph(buckets.equal_buckets, values))


def half_octave_twin(values):
    """Counts by (1 or 1.5) times powers of two, from the definition."""
    sizes = np.abs(values.astype(np.float64))
    edges = np.sort(np.concatenate([2.0 ** np.arange(-126, 129), 1.5 * 2.0 ** np.arange(-126, 128)]))
    counts = np.bincount(np.searchsorted(edges, sizes, side="right") - 1, minlength=len(edges) - 1)
    first, last = np.flatnonzero(counts)[[0, -1]]
    return np.log10(edges[first : last + 1]), np.log10(edges[first + 1 : last + 2]), counts[first : last + 1]


def test_log10_golden_numbers():
    rows = log10_rows([1.0, -1.25, 1.5, 0.0, 4.0])
    np.testing.assert_allclose(rows[:, 0], np.log10([1, 1.5, 2, 3, 4]), atol=1e-7)
    np.testing.assert_allclose(rows[:, 1], np.log10([1.5, 2, 3, 4, 6]), atol=1e-7)
    np.testing.assert_array_equal(rows[:, 2], [2, 1, 0, 0, 1])


def test_log10_against_numpy_over_all_magnitudes():
    random = np.random.default_rng(0)
    values = (random.choice([-1, 1], 5000) * 10 ** random.uniform(-37, 38, 5000)).astype(np.float32)
    rows = log10_rows(values.reshape(50, 100))
    left, right, counts = half_octave_twin(values)
    np.testing.assert_array_equal(rows[:, 2], counts)
    np.testing.assert_allclose(rows[:, 0], left, rtol=1e-6, atol=1e-7)  # float32 rows
    np.testing.assert_allclose(rows[:, 1], right, rtol=1e-6, atol=1e-7)


def test_zeros_and_what_is_not_finite_are_counted():
    counts = in_graph(buckets.half_octaves, [0.0, -0.0, 1e-40, 2.0, np.nan, -np.nan, np.inf, -np.inf, -3.0, 3e38])
    assert (buckets.zeros_of(counts), buckets.nonfinite_of(counts), counts.sum()) == (3, 4, 10)


@pytest.mark.parametrize("rows", [log10_rows, value_rows])
def test_there_are_no_rows_of_nothing(rows):
    assert rows([np.nan, np.inf]).shape == rows(np.zeros((0, 2))).shape == (0, 3)
    assert log10_rows([0.0]).shape == (0, 3)


def test_value_against_numpy():
    values = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    rows = value_rows(np.concatenate([values, [np.nan, np.inf]]))
    counts, edges = np.histogram(values.astype(np.float64), bins=64)
    assert rows.shape == (64, 3) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, 2], counts)
    np.testing.assert_allclose(rows[:, 0], edges[:-1], rtol=1e-5, atol=1e-7)  # float32 rows
    assert rows[0, 0] == values.min() and rows[-1, 1] == values.max()


@pytest.mark.parametrize(("value", "width"), [(2.0, 2 / 64), (-4.0, 4 / 64), (0.0, 1 / 64)])
def test_a_single_value_is_one_row(value, width):
    np.testing.assert_array_equal(value_rows([value] * 5), [[value, value + width, 5]])


def test_the_whole_range_of_float32():
    largest = np.finfo(np.float32).max
    rows = value_rows([-largest, 0.0, largest])
    assert np.isfinite(rows).all() and rows[:, 2].sum() == 3
