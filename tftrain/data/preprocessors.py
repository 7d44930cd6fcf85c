"""Standard preprocessing, chosen by name; each builder returns a `Preprocess`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tftrain.config.field_types import NonNegativeFloat, PositiveInt
from tftrain.core.types import Batch, DataSpec, Tensor, Tree
from tftrain.data.preprocessing import Preprocess
from tftrain.runtime.errors import DataError

FINER = 2.0**-29  # the rounding of float64 beside that of float32


def scale(by: float) -> Preprocess:
    """Multiply the features by a number, such as 0.00392156862745098 (1/255) for bytes."""

    def apply(
        x: Tree, y: Tensor, state: Tree, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        return tf.nest.map_structure(lambda leaf: _as_floats(leaf) * by, x), y

    return Preprocess(apply)


def standardize(epsilon: NonNegativeFloat = 1e-7) -> Preprocess:
    """Shift and scale each feature, or image channel, to mean 0 and deviation 1 over the training split.

    The statistics are those of the last axis, over all others, in float64. A feature whose deviation is at most
    `epsilon` times its mean is constant up to rounding, and is only shifted; of data in float64 and of whole numbers,
    which are rounded less, at most 2^-29 times that.
    """

    def fit(
        batches: Iterable[Batch], facts: DataSpec
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        totals: list[tuple] = []
        types: list[np.dtype] = []
        for batch in batches:
            types = [np.asarray(leaf).dtype for leaf in tf.nest.flatten(batch.x)]
            moments = [
                _moments_of(np.asarray(leaf, np.float64))
                for leaf in tf.nest.flatten(batch.x)
            ]
            totals = (
                [_merge_moments(*pair) for pair in zip(totals, moments, strict=True)]
                if totals
                else moments
            )
        roundings = [
            epsilon if dtype == np.float32 else epsilon * FINER for dtype in types
        ]
        return [
            _mean_and_deviation(*total, rounding)
            for total, rounding in zip(totals, roundings, strict=True)
        ]

    def apply(
        x: Tree, y: Tensor, state: list, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        # In float64, for a feature such as a time in seconds is far from 0 beside its deviation.
        pairs = zip(tf.nest.flatten(x), state, strict=True)
        parts = [
            (tf.cast(leaf, tf.float64) - mean) / deviation
            for leaf, (mean, deviation) in pairs
        ]
        return tf.nest.pack_sequence_as(
            x, [tf.cast(part, tf.float32) for part in parts]
        ), y

    return Preprocess(apply, fit)


def one_hot() -> Preprocess:
    """Turn class labels into rows with a 1 at the label's place."""

    def fit(batches: Iterable[Batch], facts: DataSpec) -> int:
        if facts.classes is None or facts.target_shape not in ((), (1,)):
            raise DataError(
                f"one_hot needs one integer label per example; the targets are {_kind_of_targets(facts)}"
            )
        return facts.classes

    def apply(
        x: Tree, y: Tensor, classes: int, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        return x, tf.one_hot(tf.reshape(y, [-1]), classes)

    return Preprocess(apply, fit)


def pad(height: PositiveInt, width: PositiveInt, value: float = 0.0) -> Preprocess:
    """Put each image in the middle of a larger one, filled with `value`.

    Args:
        height: pixels.
        width: pixels.
        value: of the border.
    """

    def change(images: Tensor, seed: Tensor, training: bool) -> Tensor:
        room = [
            size - tf.shape(images)[axis] for axis, size in ((1, height), (2, width))
        ]
        sides = [[0, 0], *([space // 2, space - space // 2] for space in room), [0, 0]]
        return _with_size(tf.pad(images, sides, constant_values=value), height, width)

    return _on_images(f"pad to {height} x {width}", change, largest=(height, width))


def crop(height: PositiveInt, width: PositiveInt) -> Preprocess:
    """Cut a window out of each image, at a random place in training and in the middle otherwise.

    Args:
        height: pixels.
        width: pixels.
    """

    def change(images: Tensor, seed: Tensor, training: bool) -> Tensor:
        count, room = tf.shape(images)[0], tf.shape(images)[1:3] - [height, width]
        if not training:
            top, left = room[0] // 2, room[1] // 2
            return _with_size(
                images[:, top : top + height, left : left + width], height, width
            )
        drawn = tf.random.stateless_uniform([count, 2], seed)
        corner = tf.cast(tf.floor(drawn * tf.cast(room + 1, tf.float32)), tf.int32)
        rows, columns = (
            corner[:, :1] + tf.range(height),
            corner[:, 1:] + tf.range(width),
        )
        strips = tf.gather(images, rows, axis=1, batch_dims=1)
        return _with_size(
            tf.gather(strips, columns, axis=2, batch_dims=1), height, width
        )

    return _on_images(
        f"crop to {height} x {width}", change, random=True, smallest=(height, width)
    )


def flip(horizontal: bool = True, vertical: bool = False) -> Preprocess:
    """Mirror half of the images in training, chosen at random: left to right, upside down, or each of both.

    Args:
        horizontal: left to right.
        vertical: upside down.
    """

    def change(images: Tensor, seed: Tensor, training: bool) -> Tensor:
        if not training:
            return images
        chosen = (
            tf.random.stateless_uniform([tf.shape(images)[0], 2, 1, 1, 1], seed) < 0.5
        )
        if horizontal:
            images = tf.where(chosen[:, 0], tf.reverse(images, [2]), images)
        return (
            tf.where(chosen[:, 1], tf.reverse(images, [1]), images)
            if vertical
            else images
        )

    return _on_images("flip", change, random=True)


def resize(height: PositiveInt, width: PositiveInt) -> Preprocess:
    """Scale each image to this size, by bilinear interpolation with antialiasing.

    Args:
        height: pixels.
        width: pixels.
    """

    def change(images: Tensor, seed: Tensor, training: bool) -> Tensor:
        return tf.image.resize(images, [height, width], antialias=True)

    return _on_images(f"resize to {height} x {width}", change)


def _as_floats(leaf: Tensor) -> Tensor:
    return tf.cast(leaf, tf.float64) if leaf.dtype.is_integer else leaf


def _moments_of(leaf: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean and sum of squared deviations over all axes but the last; a leaf [batch] is one feature."""
    axes = tuple(range(max(1, leaf.ndim - 1)))
    mean = leaf.mean(axes)
    return leaf.size // max(1, mean.size), mean, np.square(leaf - mean).sum(axes)


def _merge_moments(first: tuple, second: tuple) -> tuple[int, np.ndarray, np.ndarray]:
    """The moments of two sets of values together (T. F. Chan, G. H. Golub and R. J. LeVeque, 1979)."""
    (n, mean, squares), (m, other_mean, other_squares) = first, second
    gap = other_mean - mean
    return (
        n + m,
        mean + gap * m / (n + m),
        squares + other_squares + gap**2 * n * m / (n + m),
    )


def _mean_and_deviation(
    count: int, mean: np.ndarray, squares: np.ndarray, epsilon: float
) -> tuple:
    deviation = np.sqrt(squares / count)
    deviation = np.where(deviation <= epsilon * np.abs(mean), 1.0, deviation)
    return mean, deviation


def _kind_of_targets(facts: DataSpec) -> str:
    return f"of shape {list(facts.target_shape)}, " + (
        "floats" if facts.classes is None else "labels"
    )


def _with_size(images: Tensor, height: int, width: int) -> Tensor:
    return tf.ensure_shape(images, [None, height, width, images.shape[-1]])


def _on_images(
    name: str,
    change: Callable[[Tensor, Tensor, bool], Tensor],
    random: bool = False,
    smallest: tuple[int, int] = (1, 1),
    largest: tuple[float, float] = (np.inf, np.inf),
) -> Preprocess:
    """A step on the features of shape [height, width, channels]; others stay as they are."""

    def fit(batches: Iterable[Batch], facts: DataSpec) -> Tree:
        leaf_shapes = (
            facts.input_shape.values()
            if isinstance(facts.input_shape, dict)
            else [facts.input_shape]
        )
        images = [shape for shape in leaf_shapes if len(shape) == 3]
        if not images:
            shapes_text = ", ".join(str(list(shape)) for shape in leaf_shapes)
            raise DataError(
                f"{name} needs images [height, width, channels]; the features have the shape {shapes_text}"
            )
        for shape_of_image in images:
            if not all(
                low <= size <= high
                for low, size, high in zip(
                    smallest, shape_of_image[:2], largest, strict=True
                )
            ):
                raise DataError(
                    f"{name} is not possible: the images are {shape_of_image[0]} x {shape_of_image[1]}"
                )
        return ()

    def apply(
        x: Tree, y: Tensor, state: Tree, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        def change_leaf(leaf: Tensor) -> Tensor:
            return (
                change(tf.cast(leaf, tf.float32), seed, training)
                if leaf.shape.rank == 4
                else leaf
            )

        return tf.nest.map_structure(change_leaf, x), y

    return Preprocess(apply, fit, random)
