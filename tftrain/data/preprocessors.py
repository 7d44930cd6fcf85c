"""Standard preprocessing, chosen by name; each builder returns a `Preprocess`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tftrain.config.field_types import NonNegativeFloat, PositiveInt
from tftrain.core.types import Batch, DataSpec, Tensor, Tree
from tftrain.data.preprocessing import Preprocess
from tftrain.runtime.errors import DataError

# The rounding of float64, in units of that of float32.
FINER = 2.0**-29


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
            leaves = tf.nest.flatten(batch.x)
            types = [np.asarray(leaf).dtype for leaf in leaves]
            moments = [
                _moments_of(np.asarray(leaf, np.float64)) for leaf in leaves
            ]
            if totals:
                totals = list(map(_merge_moments, totals, moments))
            else:
                totals = moments
        statistics = []
        for total, dtype in zip(totals, types, strict=True):
            rounding = epsilon if dtype == np.float32 else epsilon * FINER
            statistics.append(_mean_and_deviation(*total, rounding))
        return statistics

    def apply(
        x: Tree, y: Tensor, state: list, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        parts = []
        for leaf, (mean, deviation) in zip(
            tf.nest.flatten(x), state, strict=True
        ):
            # In float64: a feature such as a time in seconds is far from 0 compared with its deviation.
            standardized = (tf.cast(leaf, tf.float64) - mean) / deviation
            parts.append(tf.cast(standardized, tf.float32))
        return tf.nest.pack_sequence_as(x, parts), y

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


def pad(
    height: PositiveInt, width: PositiveInt, value: float = 0.0
) -> Preprocess:
    """Put each image in the middle of a larger one, filled with `value`.

    Args:
        height: pixels.
        width: pixels.
        value: of the border.
    """

    def change(images: Tensor, seed: Tensor, training: bool) -> Tensor:
        missing_rows = height - tf.shape(images)[1]
        missing_columns = width - tf.shape(images)[2]
        top = missing_rows // 2
        left = missing_columns // 2
        rows = [top, missing_rows - top]
        columns = [left, missing_columns - left]
        paddings = [[0, 0], rows, columns, [0, 0]]
        padded = tf.pad(images, paddings, constant_values=value)
        return _with_size(padded, height, width)

    return _on_images(
        f"pad to {height} x {width}", change, largest=(height, width)
    )


def crop(height: PositiveInt, width: PositiveInt) -> Preprocess:
    """Cut a window out of each image, at a random place in training and in the middle otherwise.

    Args:
        height: pixels.
        width: pixels.
    """

    def change(images: Tensor, seed: Tensor, training: bool) -> Tensor:
        count = tf.shape(images)[0]
        surplus = tf.shape(images)[1:3] - [height, width]
        if not training:
            top = surplus[0] // 2
            left = surplus[1] // 2
            middle = images[:, top : top + height, left : left + width]
            return _with_size(middle, height, width)
        drawn = tf.random.stateless_uniform([count, 2], seed)
        places = tf.cast(surplus + 1, tf.float32)
        corners = tf.cast(tf.floor(drawn * places), tf.int32)
        rows = corners[:, :1] + tf.range(height)
        columns = corners[:, 1:] + tf.range(width)
        strips = tf.gather(images, rows, axis=1, batch_dims=1)
        windows = tf.gather(strips, columns, axis=2, batch_dims=1)
        return _with_size(windows, height, width)

    return _on_images(
        f"crop to {height} x {width}",
        change,
        random=True,
        smallest=(height, width),
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
        count = tf.shape(images)[0]
        chosen = tf.random.stateless_uniform([count, 2, 1, 1, 1], seed) < 0.5
        if horizontal:
            images = tf.where(chosen[:, 0], tf.reverse(images, [2]), images)
        if vertical:
            images = tf.where(chosen[:, 1], tf.reverse(images, [1]), images)
        return images

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
    """Return count, mean and sum of squared deviations over all axes but the last; a leaf [batch] is one feature."""
    axes = tuple(range(max(1, leaf.ndim - 1)))
    mean = leaf.mean(axes)
    count = leaf.size // max(1, mean.size)
    squares = np.square(leaf - mean).sum(axes)
    return count, mean, squares


def _merge_moments(
    first: tuple, second: tuple
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the moments of two sets of values together (T. F. Chan, G. H. Golub and R. J. LeVeque, 1979)."""
    n, mean, squares = first
    m, other_mean, other_squares = second
    gap = other_mean - mean
    joint_mean = mean + gap * m / (n + m)
    joint_squares = squares + other_squares + gap**2 * n * m / (n + m)
    return n + m, joint_mean, joint_squares


def _mean_and_deviation(
    count: int, mean: np.ndarray, squares: np.ndarray, epsilon: float
) -> tuple:
    deviation = np.sqrt(squares / count)
    deviation = np.where(deviation <= epsilon * np.abs(mean), 1.0, deviation)
    return mean, deviation


def _kind_of_targets(facts: DataSpec) -> str:
    kind = "floats" if facts.classes is None else "labels"
    return f"of shape {list(facts.target_shape)}, {kind}"


def _with_size(images: Tensor, height: int, width: int) -> Tensor:
    return tf.ensure_shape(images, [None, height, width, images.shape[-1]])


def _on_images(
    name: str,
    change: Callable[[Tensor, Tensor, bool], Tensor],
    random: bool = False,
    smallest: tuple[int, int] = (1, 1),
    largest: tuple[float, float] = (np.inf, np.inf),
) -> Preprocess:
    """Return a step that changes the features of shape [height, width, channels] and leaves others as they are."""

    def fit(batches: Iterable[Batch], facts: DataSpec) -> Tree:
        leaf_shapes = [facts.input_shape]
        if isinstance(facts.input_shape, dict):
            leaf_shapes = list(facts.input_shape.values())
        images = [shape for shape in leaf_shapes if len(shape) == 3]
        if not images:
            shapes_text = ", ".join(str(list(shape)) for shape in leaf_shapes)
            raise DataError(
                f"{name} needs images [height, width, channels]; the features have the shape {shapes_text}"
            )
        for height, width, _ in images:
            fits_height = smallest[0] <= height <= largest[0]
            fits_width = smallest[1] <= width <= largest[1]
            if not (fits_height and fits_width):
                raise DataError(
                    f"{name} is not possible: the images are {height} x {width}"
                )
        return ()

    def apply(
        x: Tree, y: Tensor, state: Tree, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        def change_leaf(leaf: Tensor) -> Tensor:
            if leaf.shape.rank != 4:
                return leaf
            return change(tf.cast(leaf, tf.float32), seed, training)

        return tf.nest.map_structure(change_leaf, x), y

    return Preprocess(apply, fit, random)
