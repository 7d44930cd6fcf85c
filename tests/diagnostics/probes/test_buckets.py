import numpy as np
import pytest
import tensorflow as tf

from tftrain.diagnostics.probes import bucket_counts


def in_graph(count, values, jit_compile=False):
    """The counts of one tensor."""
    found = tf.function(count, jit_compile=jit_compile)(
        tf.constant(np.reshape(values, [1, -1]), tf.float32)
    )
    return {name: tensor.numpy() for name, tensor in found.items()}


def log10_rows(values, **options):
    (rows,) = bucket_counts.log10_rows(
        in_graph(bucket_counts.half_octaves, values, **options)
    )
    return rows


def value_rows(values, **options):
    (rows,) = bucket_counts.value_rows(
        in_graph(bucket_counts.equal_buckets, values, **options)
    )
    return rows


@pytest.fixture(
    params=[(5000, False), (5000, True), (100_000, False), (100_000, True)],
    ids=str,
)
def elements(request, monkeypatch):
    """How many, so that they are counted at once or in four pieces, and whether by XLA."""
    monkeypatch.setattr(bucket_counts, "_PIECE", 30_000)
    monkeypatch.setattr(bucket_counts, "_WIDE_PIECE", 30_000)
    return request.param


def half_octave_twin(values):
    """Counts by (1 or 1.5) times powers of two, from the definition."""
    sizes = np.abs(values.astype(np.float64))
    edges = np.sort(
        np.concatenate(
            [2.0 ** np.arange(-126, 129), 1.5 * 2.0 ** np.arange(-126, 128)]
        )
    )
    counts = np.bincount(
        np.searchsorted(edges, sizes, side="right") - 1,
        minlength=len(edges) - 1,
    )
    first, last = np.flatnonzero(counts)[[0, -1]]
    return (
        np.log10(edges[first : last + 1]),
        np.log10(edges[first + 1 : last + 2]),
        counts[first : last + 1],
    )


def test_log10_golden_numbers():
    rows = log10_rows([1.0, -1.25, 1.5, 0.0, 4.0])
    np.testing.assert_allclose(
        rows[:, 0], np.log10([1, 1.5, 2, 3, 4]), atol=1e-7
    )
    np.testing.assert_allclose(
        rows[:, 1], np.log10([1.5, 2, 3, 4, 6]), atol=1e-7
    )
    np.testing.assert_array_equal(rows[:, 2], [2, 1, 0, 0, 1])


def test_log10_against_numpy_over_all_magnitudes(elements):
    (size, jit_compile), random = elements, np.random.default_rng(0)
    values = (
        random.choice([-1, 1], size) * 10 ** random.uniform(-37, 38, size)
    ).astype(np.float32)
    rows = log10_rows(values.reshape(50, -1), jit_compile=jit_compile)
    left, right, counts = half_octave_twin(values)
    np.testing.assert_array_equal(rows[:, 2], counts)
    np.testing.assert_allclose(
        rows[:, 0], left, rtol=1e-6, atol=1e-7
    )  # float32 rows
    np.testing.assert_allclose(rows[:, 1], right, rtol=1e-6, atol=1e-7)


def test_zeros_and_what_is_not_finite_are_counted(elements):
    size, jit_compile = elements
    values = np.resize(
        [0.0, -0.0, 1e-40, 2.0, np.nan, -np.nan, np.inf, -np.inf, -3.0, 3e38],
        size,
    )
    counts = in_graph(bucket_counts.half_octaves, values, jit_compile)["counts"]
    assert (
        10 * bucket_counts.zeros_of(counts) == 3 * size
        and 10 * bucket_counts.nonfinite_of(counts) == 4 * size
    )
    assert counts.sum() == size


@pytest.mark.parametrize("rows", [log10_rows, value_rows])
def test_there_are_no_rows_of_nothing(rows):
    assert (
        rows([np.nan, np.inf]).shape == rows(np.zeros((0, 2))).shape == (0, 3)
    )
    assert log10_rows([0.0]).shape == (0, 3)


def test_value_against_numpy(elements):
    size, jit_compile = elements
    values = np.random.default_rng(1).normal(size=size - 2).astype(np.float32)
    rows = value_rows(
        np.concatenate([values, [np.nan, np.inf]]), jit_compile=jit_compile
    )
    counts, edges = np.histogram(values.astype(np.float64), bins=64)
    assert rows.shape == (64, 3) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, 2], counts)
    np.testing.assert_allclose(
        rows[:, 0], edges[:-1], rtol=1e-5, atol=1e-7
    )  # float32 rows
    assert rows[0, 0] == values.min() and rows[-1, 1] == values.max()


@pytest.mark.parametrize(
    ("value", "width"), [(2.0, 2 / 64), (-4.0, 4 / 64), (0.0, 1 / 64)]
)
def test_a_single_value_is_one_row(value, width):
    np.testing.assert_array_equal(
        value_rows([value] * 5), [[value, value + width, 5]]
    )


def test_the_whole_range_of_float32():
    largest = np.finfo(np.float32).max
    rows = value_rows([-largest, 0.0, largest])
    assert np.isfinite(rows).all() and rows[:, 2].sum() == 3


def test_tensors_are_counted_apart():
    tables = [
        [1.0, 2.0, 2.0, np.nan],
        [np.nan, np.inf, -np.inf, np.nan],
        [7.0, 7.0, 7.0, 7.0],
    ]
    found = {
        name: tensor.numpy()
        for name, tensor in bucket_counts.equal_buckets(
            tf.constant(tables)
        ).items()
    }
    first, nothing, single = bucket_counts.value_rows(found)
    assert (
        first[0, 2],
        first[-1, 2],
        first[0, 0],
        first[-1, 1],
        len(nothing),
    ) == (
        1,
        2,
        1,
        2,
        0,
    )
    np.testing.assert_array_equal(single, [[7, 7 + 7 / 64, 4]])
