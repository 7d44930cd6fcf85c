"""How numbers spread, counted in the graph in one pass: by magnitude, or in equal buckets."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor

# A half octave is the exponent and the first bit of the fraction of a float32; there are 512 for each sign.
_DROPPED_BITS, _HALF_OCTAVES = 22, 512
_FIRST_NORMAL, _FIRST_INFINITE = 2, 510  # before: zeros and denormals; from there on: Inf and NaN
_LEFT_EDGES = [(1 + half / 2) * 2.0 ** (exponent - 127) for exponent in range(1, 256) for half in (0, 1)]
_LOG10_EDGES = np.log10(_LEFT_EDGES[:-1])  # of the buckets in between
_EQUAL_BUCKETS = 64


def half_octaves(values: Tensor) -> Tensor:
    """Counts of float32 values by magnitude, [512], of both signs together.

    For each power of 2 there is a bucket from 1 to 1.5 times it, and one from there to 2 times it.
    """
    bits = tf.bitcast(tf.reshape(values, [-1]), tf.uint32)  # of int32 the sign bit would be copied by the shift
    bins = tf.bitwise.right_shift(bits, tf.constant(_DROPPED_BITS, tf.uint32))
    counts = _counts(tf.cast(bins, tf.int32), 2 * _HALF_OCTAVES)
    return counts[:_HALF_OCTAVES] + counts[_HALF_OCTAVES:]


def zeros_of(counts: Tensor) -> Tensor:
    """How many values were 0, denormals included, which TensorFlow takes for zeros."""
    return tf.reduce_sum(counts[:_FIRST_NORMAL])


def nonfinite_of(counts: Tensor) -> Tensor:
    """How many values were NaN or infinite."""
    return tf.reduce_sum(counts[_FIRST_INFINITE:])


def log10_rows(counts: np.ndarray) -> np.ndarray:
    """[buckets, 3]: log10 of the left and right edge, and the count; empty buckets at both ends are left out."""
    return _rows(_LOG10_EDGES, counts[_FIRST_NORMAL:_FIRST_INFINITE])


def equal_buckets(values: Tensor) -> dict[str, Tensor]:
    """Counts of the finite values in 64 buckets from `low` to `high`; a single value is in the middle of its range."""
    values = tf.cast(tf.reshape(values, [-1]), tf.float64)  # float32 overflows on the way from -3e38 to 3e38
    finite = tf.math.is_finite(values)
    low = tf.reduce_min(tf.where(finite, values, np.inf))
    high = tf.reduce_max(tf.where(finite, values, -np.inf))
    half = tf.where(low == 0, tf.constant(0.5, tf.float64), tf.abs(low) / 2)
    margin = tf.where(high > low, tf.zeros_like(half), half)
    low, high = low - margin, high + margin
    buckets = tf.cast((tf.where(finite, values, low) - low) / (high - low) * _EQUAL_BUCKETS, tf.int32)
    buckets = tf.clip_by_value(buckets, 0, _EQUAL_BUCKETS - 1)
    counts = _counts(tf.where(finite, buckets, _EQUAL_BUCKETS), _EQUAL_BUCKETS + 1)
    return {"counts": counts[:_EQUAL_BUCKETS], "low": low, "high": high}


def value_rows(found: dict) -> np.ndarray:
    """[buckets, 3]: left and right edge, and the count; empty buckets at both ends are left out."""
    if not found["counts"].any():
        return np.zeros((0, 3), np.float32)
    return _rows(np.linspace(found["low"], found["high"], _EQUAL_BUCKETS + 1), found["counts"])


def _rows(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    filled = np.flatnonzero(counts)
    rows = np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float32)
    return rows[filled[0] : filled[-1] + 1] if filled.size else rows[:0]


def _counts(bins: Tensor, size: int) -> Tensor:
    # Not tf.math.bincount, which needs the largest bin first and does not compile under XLA.
    return tf.raw_ops.DenseBincount(input=bins, size=size, weights=tf.constant([], tf.int32))
