"""Each step against NumPy; float32 results agree to 1e-5 relative, a hundred float32 roundings."""

import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Batch
from tftrain.data import preprocessing, preprocessors
from tftrain.data.batches import Split
from tftrain.runtime.errors import DataError

IMAGES = (
    np.random.default_rng(0).uniform(0, 255, (40, 6, 5, 3)).astype(np.float32)
)
LABELS = np.arange(40) % 4


def run(
    steps, x, y=LABELS, training=False, step=0, classes=4, seed=0, train=None
):
    train = Split(Batch(x, y), len(y)) if train is None else train
    fitted, facts = preprocessing.fit(
        steps, train, classes, seed, rounded=[False] * len(tf.nest.flatten(x))
    )
    batch = preprocessing.apply(fitted, Batch(x, y), step, training)
    assert facts == preprocessing.describe(batch, classes)
    return batch


def streamed(x, y=LABELS):
    return Split(tf.data.Dataset.from_tensor_slices((x, y)), len(y))


def test_features_become_float32_and_labels_int64():
    batch = run(
        [],
        {"bytes": IMAGES.astype(np.uint8), "flags": np.arange(40) > 3},
        LABELS.astype(np.uint8),
    )
    assert (
        batch.x["bytes"].dtype == batch.x["flags"].dtype == tf.float32
        and batch.y.dtype == tf.int64
    )
    np.testing.assert_array_equal(batch.x["bytes"], IMAGES.astype(np.uint8))


def test_scale_multiplies():
    np.testing.assert_array_equal(
        run([preprocessors.scale(0.5)], IMAGES).x, IMAGES * np.float32(0.5)
    )


@pytest.mark.parametrize(
    "make",
    [lambda x: Split(Batch(x, LABELS), 40), streamed],
    ids=["arrays", "stream"],
)
@pytest.mark.parametrize("chunk", [40, 7])
def test_standardize_uses_each_channel_of_the_training_split(
    make, chunk, monkeypatch
):
    monkeypatch.setattr(preprocessing, "CHUNK", chunk)
    later = IMAGES[:3] + 100
    mean, deviation = (
        IMAGES.astype(np.float64).mean((0, 1, 2)),
        IMAGES.astype(np.float64).std((0, 1, 2)),
    )
    found = run(
        [preprocessors.standardize()], later, LABELS[:3], train=make(IMAGES)
    ).x
    np.testing.assert_allclose(
        found, (later - mean) / deviation, rtol=1e-5, atol=1e-5
    )


def test_standardize_sees_what_earlier_steps_leave():
    found = run(
        [preprocessors.scale(0.01), preprocessors.standardize()], IMAGES
    ).x
    np.testing.assert_allclose(
        found,
        run([preprocessors.standardize()], IMAGES).x,
        rtol=1e-4,
        atol=1e-5,
    )


def test_standardize_only_shifts_constant_features():
    x = np.stack([np.full(40, 0.1), np.zeros(40), np.arange(40.0)], 1).astype(
        np.float32
    )
    found = np.asarray(run([preprocessors.standardize()], x).x)
    np.testing.assert_allclose(found[:, :2], 0, atol=1e-7)
    np.testing.assert_allclose(found[:, 2].std(), 1, rtol=1e-5)


def test_standardize_takes_columns_without_an_axis():
    found = run(
        [preprocessors.standardize()],
        {"age": np.arange(40.0), "pair": np.ones((40, 2))},
    ).x
    np.testing.assert_allclose(
        found["age"], (np.arange(40) - 19.5) / np.arange(40).std(), rtol=1e-5
    )
    np.testing.assert_array_equal(found["pair"], np.zeros((40, 2)))


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None]])
def test_one_hot_puts_a_one_at_the_label(labels):
    np.testing.assert_array_equal(
        run([preprocessors.one_hot()], IMAGES, labels).y, np.eye(4)[LABELS]
    )


def test_one_hot_wants_labels():
    with pytest.raises(
        DataError,
        match=r"one_hot needs one integer label .* shape \[\], floats",
    ):
        run([preprocessors.one_hot()], IMAGES, LABELS * 0.5, classes=None)


def test_pad_puts_the_image_in_the_middle():
    found = run([preprocessors.pad(9, 7, value=-1.0)], IMAGES).x
    twin = np.pad(
        IMAGES, [(0, 0), (1, 2), (1, 1), (0, 0)], constant_values=-1.0
    )
    np.testing.assert_array_equal(found, twin)


def test_crop_is_central_in_evaluation():
    np.testing.assert_array_equal(
        run([preprocessors.crop(4, 3)], IMAGES).x, IMAGES[:, 1:5, 1:4]
    )


def test_random_crop_is_a_window_of_its_image_and_reaches_every_corner():
    found = np.asarray(run([preprocessors.crop(4, 3)], IMAGES, training=True).x)
    windows = [(top, left) for top in range(3) for left in range(3)]
    places = [
        next(
            w
            for w in windows
            if np.array_equal(one, image[w[0] : w[0] + 4, w[1] : w[1] + 3])
        )
        for one, image in zip(found, IMAGES, strict=True)
    ]
    assert set(places) == set(
        windows
    )  # 40 draws of 9 places miss one with probability 0.08; the seed is fixed


def test_flip_mirrors_about_half_of_the_images_in_training_only():
    np.testing.assert_array_equal(run([preprocessors.flip()], IMAGES).x, IMAGES)
    found = np.asarray(
        run(
            [preprocessors.flip(horizontal=True, vertical=False)],
            IMAGES,
            training=True,
        ).x
    )
    flipped = [
        np.array_equal(one, image[:, ::-1])
        for one, image in zip(found, IMAGES, strict=True)
    ]
    kept = [
        np.array_equal(one, image)
        for one, image in zip(found, IMAGES, strict=True)
    ]
    assert (
        all(a != b for a, b in zip(flipped, kept, strict=True))
        and 10 <= sum(flipped) <= 30
    )


def test_vertical_flip_turns_upside_down():
    found = np.asarray(
        run(
            [preprocessors.flip(horizontal=False, vertical=True)],
            IMAGES,
            training=True,
        ).x
    )
    for one, image in zip(found, IMAGES, strict=True):
        assert np.array_equal(one, image) or np.array_equal(one, image[::-1])


@pytest.mark.parametrize(
    "random_step", [preprocessors.flip(), preprocessors.crop(4, 3)]
)
def test_random_steps_repeat_for_the_same_seed_and_step_only(random_step):
    first = np.asarray(
        run([random_step], IMAGES, training=True, step=5, seed=1).x
    )
    np.testing.assert_array_equal(
        first, run([random_step], IMAGES, training=True, step=5, seed=1).x
    )
    assert not np.array_equal(
        first, run([random_step], IMAGES, training=True, step=6, seed=1).x
    )
    assert not np.array_equal(
        first, run([random_step], IMAGES, training=True, step=5, seed=2).x
    )


def test_two_random_steps_draw_apart():
    twice = run(
        [preprocessors.flip(), preprocessors.flip()], IMAGES, training=True
    ).x
    assert not np.array_equal(
        twice, IMAGES
    )  # the same draw twice would give back every image


def test_resize_halves_a_checkerboard_to_gray():
    board = np.tile(np.array([[0.0, 2.0], [2.0, 0.0]], np.float32), (4, 4))[
        None, :, :, None
    ]
    found = run([preprocessors.resize(4, 4)], board, LABELS[:1]).x
    np.testing.assert_allclose(found[0, 1:3, 1:3, 0], 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "step, x, message",
    [
        (
            preprocessors.flip(),
            IMAGES[:, 0, 0],
            r"flip needs images .*; the features have the shape \[3\]",
        ),
        (
            preprocessors.crop(7, 3),
            IMAGES,
            "crop to 7 x 3 is not possible: the images are 6 x 5",
        ),
        (
            preprocessors.pad(7, 3),
            IMAGES,
            "pad to 7 x 3 is not possible: the images are 6 x 5",
        ),
    ],
)
def test_impossible_image_steps_are_refused(step, x, message):
    with pytest.raises(DataError, match=message):
        run([step], x)


def test_image_steps_leave_other_features_alone():
    table = np.ones((40, 2), np.float32)
    found = run([preprocessors.crop(4, 3)], {"image": IMAGES, "table": table}).x
    assert found["image"].shape == (40, 4, 3, 3)
    np.testing.assert_array_equal(found["table"], table)
