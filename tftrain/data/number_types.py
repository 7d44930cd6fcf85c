"""The types of numbers: as exact as the data through preprocessing, float32 or whole numbers for the model."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tensor, Tree

NOTICED = 1e-3  # rounding that is this share of a feature's deviation is told
EXACT = 2**24  # float32 holds every whole number up to it


class Numbers(enum.Enum):
    """How whole numbers and float64 are handed on."""

    PLAIN = "whole numbers as float32 where that holds all of them, else as integers"
    INTEGERS = "whole numbers as integers"
    FLOAT32 = "everything as float32"


PLAIN = Numbers.PLAIN
INTEGERS = Numbers.INTEGERS
FLOAT32 = Numbers.FLOAT32
_FALLBACKS = {
    Numbers.PLAIN: (Numbers.PLAIN, Numbers.INTEGERS, Numbers.FLOAT32),
    Numbers.INTEGERS: (Numbers.INTEGERS, Numbers.PLAIN, Numbers.FLOAT32),
    Numbers.FLOAT32: (Numbers.FLOAT32,),
}


class Whole(NamedTuple):
    """The lowest and the highest whole number of an array, and whether float32 would round any."""

    low: int
    high: int
    is_rounded: bool

    def joined(self, second: Whole) -> Whole:
        """Return the range of both."""
        return Whole(
            min(self.low, second.low),
            max(self.high, second.high),
            self.is_rounded or second.is_rounded,
        )


def whole_numbers(values: np.ndarray) -> Whole | None:
    """What there is to know of an array's whole numbers; None where these are floats or truth values."""
    if values.dtype.kind not in "iu" or not values.size:
        return None
    low = int(values.min())
    high = int(values.max())
    is_rounded = False
    if low < -EXACT or high > EXACT:
        is_rounded = bool(tf.reduce_any(rounds(tf.constant(values))))
    return Whole(low, high, is_rounded)


def rounds(values: Tensor) -> Tensor:
    """Which whole numbers float32 rounds: those with more than 24 binary digits before their zeros at the end."""
    size = tf.abs(tf.cast(values, tf.int64))
    lowest_digit = tf.maximum(tf.bitwise.bitwise_and(size, -size), 1)
    return size // lowest_digit > EXACT


def rounding_of(column: np.ndarray) -> str | None:
    """What float32 would lose of float64 values, in words; None where that is little beside their deviation."""
    if column.dtype != np.float64:
        return None
    single = column.astype(np.float32)
    errors = np.abs(column - single)
    worst = int(np.argmax(errors))
    if not errors[worst]:
        return None
    example = f"holds values such as {float(column[worst])!r}, which float32 rounds to {float(single[worst])!r}"
    if np.all(column == np.round(column)):
        advice = "`preprocess: standardize` computes in float64, and identifiers are given as integers (int64)"
        return f"{example}; {advice}"
    if np.sqrt(np.mean(errors**2)) > NOTICED * np.std(column) > 0:
        return f"{example}, although they differ by {np.std(column):.3g}; `preprocess: standardize` computes in float64"
    return None


def settings_of(
    batch: Batch, numbers: Numbers, rounded: Sequence[bool]
) -> Iterator[Numbers]:
    """Return the ways to hand a batch on, the preferred one first; those with equal types are given once.

    Args:
        batch: a sample.
        numbers: how whole numbers are handed on.
        rounded: whether float32 would round each feature.
    """
    types_so_far = []
    for setting in _FALLBACKS[numbers]:
        x = _cast_features(batch.x, setting, rounded)
        y = _cast_target(batch.y, setting)
        types = [leaf.dtype for leaf in tf.nest.flatten((x, y))]
        if types not in types_so_far:
            types_so_far.append(types)
            yield setting


def cast_numbers(numbers: Numbers, rounded: Sequence[bool]) -> Callable:
    """Return the `apply` of a step that hands numbers on to preprocessing, with float64 as it is.

    Args:
        numbers: how whole numbers are handed on.
        rounded: whether float32 would round each feature.
    """

    def apply(
        x: Tree, y: Tensor, state: Tree, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        return _cast_features(x, numbers, rounded), _cast_target(y, numbers)

    return apply


def cast_ready(numbers: Numbers, rounded: Sequence[bool]) -> Callable:
    """Return the `apply` of a step that hands numbers on to the model: float32, and targets float32 or int64.

    Args:
        numbers: how whole numbers are handed on.
        rounded: whether float32 would round each feature.
    """

    def apply(
        x: Tree, y: Tensor, state: Tree, seed: Tensor, training: bool
    ) -> tuple[Tree, Tensor]:
        x = tf.nest.map_structure(
            _as_float32, _cast_features(x, numbers, rounded)
        )
        y = _as_float32(_cast_target(y, numbers))
        return x, y

    return apply


def _cast_features(x: Tree, numbers: Numbers, rounded: Sequence[bool]) -> Tree:
    """Cast the features; integers stay what they are where `rounded` is empty, for a step made them."""
    leaves = tf.nest.flatten(x)
    pairs = zip(leaves, rounded or [True] * len(leaves), strict=True)
    casts = [
        _cast_leaf(leaf, is_rounded, numbers) for leaf, is_rounded in pairs
    ]
    return tf.nest.pack_sequence_as(x, casts)


def _cast_leaf(leaf: Tensor, is_rounded: bool, numbers: Numbers) -> Tensor:
    dtype = tf.as_dtype(leaf.dtype)
    if numbers is Numbers.FLOAT32:
        return tf.cast(leaf, tf.float32)
    if dtype.is_floating:
        return leaf if dtype == tf.float64 else tf.cast(leaf, tf.float32)
    if numbers is Numbers.PLAIN and not is_rounded:
        return tf.cast(leaf, tf.float32)
    if dtype.is_bool:
        return leaf
    # At least int32, so that a step's arithmetic does not overflow bytes.
    is_wide = dtype.size > 4 or dtype == tf.uint32
    return tf.cast(leaf, tf.int64 if is_wide else tf.int32)


def _cast_target(y: Tensor, numbers: Numbers) -> Tensor:
    dtype = tf.as_dtype(y.dtype)
    if not dtype.is_floating:
        return tf.cast(y, tf.int64)
    if dtype == tf.float64 and numbers is not Numbers.FLOAT32:
        return y
    return tf.cast(y, tf.float32)


def _as_float32(leaf: Tensor) -> Tensor:
    return tf.cast(leaf, tf.float32) if leaf.dtype.is_floating else leaf
