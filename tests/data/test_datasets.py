"""The data sets that are made on the spot: what they promise, from NumPy alone."""

import inspect

import numpy as np
import pytest

from tftrain.data.datasets import sequences, synthetic

MADE = [
    synthetic.blobs,
    synthetic.xor_blobs,
    synthetic.moons,
    synthetic.spirals,
    sequences.sine,
    sequences.series,
]
MADE += [sequences.adding, sequences.copy, synthetic.large_features]


@pytest.mark.parametrize("builder", MADE, ids=lambda one: one.__name__)
def test_the_seed_alone_decides(builder):
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    (x, y), (again, labels), (other, _) = (
        builder(seed=3),
        builder(seed=3),
        builder(seed=4),
    )
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, labels)
    assert (
        x.dtype == np.float32
        and np.isfinite(x).all()
        and y.dtype in (np.float32, np.int64)
    )
    assert (
        len(x)
        == len(y)
        == inspect.signature(builder).parameters["examples"].default
    )
    assert not np.array_equal(x, other)


def nearest_label(x, y, points):
    """The label of the nearest of the training points."""
    return y[np.argmin(((points[:, np.newaxis] - x) ** 2).sum(2), axis=1)]


@pytest.mark.parametrize("builder", MADE[:4], ids=lambda one: one.__name__)
def test_planes_have_two_classes_that_neighbors_share_and_no_line_parts(
    builder,
):
    x, y = builder(seed=0)
    assert x.shape == (400, 2) and np.bincount(y).tolist() == [200, 200]
    fresh, labels = builder(seed=1)
    assert np.mean(nearest_label(x, y, fresh) == labels) > 0.94
    plane = np.c_[x, np.ones(400)]
    line = np.linalg.lstsq(plane, 2.0 * y - 1, rcond=None)[0]
    assert np.mean((plane @ line > 0) == y) < 0.9


def test_the_island_lies_inside_the_ring():
    x, y = synthetic.blobs(seed=0, spread=0.1)
    assert (
        np.linalg.norm(x[y == 1], axis=1).max()
        < 1
        < np.linalg.norm(x[y == 0], axis=1).min()
    )


def test_sine_is_a_sine_and_its_targets_are_the_next_values():
    x, y = sequences.sine(examples=3, length=40, period=20, noise=0.0, seed=0)
    assert x.shape == (3, 40, 1) and y.shape == (3, 1)
    np.testing.assert_allclose(x[:, :20], x[:, 20:], atol=1e-6)  # float32
    np.testing.assert_allclose(y, x[:, 20], atol=1e-6)
    each = sequences.sine(
        examples=3, length=40, period=20, noise=0.5, targets="each", seed=0
    )
    np.testing.assert_array_equal(each[0][:, 1:], each[1][:, :-1])
    one, same = (
        sequences.sine(noise=0.1, seed=0),
        sequences.sine(noise=0.0, seed=0),
    )
    assert np.std(one[0] - same[0]) == pytest.approx(
        0.1, rel=0.02
    )  # 50 000 draws


def test_series_is_three_periods_and_a_trend_with_noise_of_two_sizes():
    x, _ = sequences.series(examples=50, length=500, seed=0)
    time = np.arange(500)
    waves = [
        wave(2 * np.pi * time / period)
        for period in (12.5, 31, 77)
        for wave in (np.sin, np.cos)
    ]
    parts = np.stack([np.ones(500), time, *waves], 1)
    left = (
        x[:, :, 0].T
        - parts @ np.linalg.lstsq(parts, x[:, :, 0].T, rcond=None)[0]
    )
    assert left.std() == pytest.approx(
        np.sqrt((0.02**2 + 0.2**2) / 2), rel=0.05
    )
    around = np.median(np.abs(left), axis=None)
    assert (
        np.quantile(np.abs(left), 0.95) > 5 * around
    )  # 3 of Gaussian noise of one size
    assert (left.std(0) > 0.1).all()


def test_a_stream_is_one_series_in_lanes():
    x, y = sequences.series_stream(lanes=3, length=7, seed=0)
    assert x.shape == y.shape == (3, 7, 1)
    np.testing.assert_array_equal(x.ravel()[1:], y.ravel()[:-1])


def test_adding_adds_one_number_of_each_half():
    x, y = sequences.adding(examples=500, length=9, seed=0)
    marks = x[:, :, 1]
    assert (
        (marks[:, :4].sum(1) == 1).all()
        and (marks[:, 4:].sum(1) == 1).all()
        and set(marks.ravel()) == {0, 1}
    )
    np.testing.assert_allclose(
        y[:, 0], (x[:, :, 0] * marks).sum(1), atol=1e-6
    )  # float32
    assert np.mean(
        (sequences.adding(20000, seed=0)[1] - 1) ** 2
    ) == pytest.approx(1 / 6, rel=0.05)


def test_copy_says_its_symbols_again_after_the_gap():
    x, y = sequences.copy(
        examples=50, gap=5, symbols=3, symbols_to_copy=2, seed=0
    )
    assert x.shape == (50, 9, 5) and (x.sum(2) == 1).all()
    heard = x.argmax(2)
    np.testing.assert_array_equal(heard[:, :2], y[:, -2:])
    assert set(y[:, -2:].ravel()) == {1, 2, 3} and not y[:, :-2].any()
    assert (heard[:, 6] == 4).all() and not heard[:, [2, 3, 4, 5, 7, 8]].any()


def test_a_single_feature_is_a_large_one():
    x, _ = synthetic.large_features(
        examples=20000, features=1, largest=50, seed=0
    )
    assert x.std() == pytest.approx(50, rel=0.02)


def test_large_features_are_linear_and_of_the_sizes_said():
    x, y = synthetic.large_features(
        examples=20000, features=4, largest=1000, noise=0.1, seed=0
    )
    np.testing.assert_allclose(x.std(0), [1, 10, 100, 1000], rtol=0.03)
    left = y - x @ np.linalg.lstsq(x.astype(float), y, rcond=None)[0]
    assert left.std() == pytest.approx(0.1, rel=0.03)


def test_points_are_those_written():
    x, y = synthetic.points([2.0, 3.0], [6.5, 1.0])
    np.testing.assert_array_equal(x, [[2], [3]])
    np.testing.assert_array_equal(y, [6.5, 1])
