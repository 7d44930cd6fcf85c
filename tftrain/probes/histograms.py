"""Histograms of every parameter's gradient, counted in the graph."""

from __future__ import annotations

from typing import Literal

import numpy as np
import tensorflow as tf

from tftrain.core.types import Moment, Probe, Signals, Tensor

# A half octave is the exponent and the first bit of the fraction of a float32; there are 512 for each sign.
_DROPPED_BITS, _HALF_OCTAVES = 22, 512
_FIRST_NORMAL, _FIRST_INFINITE = 2, 510  # before: zeros and denormals; from there on: Inf and NaN
_LEFT_EDGES = [(1 + half / 2) * 2.0 ** (exponent - 127) for exponent in range(1, 256) for half in (0, 1)]
_LOG10_EDGES = np.log10(_LEFT_EDGES[:-1])  # of the buckets in between
_EQUAL_BUCKETS = 64


def gradient_histograms(axis: Literal["log10", "value"] = "log10") -> Probe:
    """The histogram of each parameter's gradient before the transforms, as `gradients/<name>`.

    On the axis `log10` a bucket is a half octave of the magnitude, which shows vanishing and exploding gradients;
    on the axis `value` there are 64 equal buckets between the least and the greatest finite number. Also gives
    `zero_grad_fraction` (with denormals, which TensorFlow takes for zeros) and `nonfinite_grads`, a count, for all
    parameters together.
    """
    rows = {"log10": _log10_rows, "value": _value_rows}[axis]

    def measure(moment: Moment) -> dict:
        named = zip(moment.names, moment.raw, strict=True)
        return {name: _measure(tf.reshape(grad, [-1]), axis) for name, grad in named}

    def read(measured: dict) -> Signals:
        histograms = {f"gradients/{name}": rows(found) for name, found in measured.items()}
        counts = np.sum([_folded(found["half_octaves"]) for found in measured.values()], axis=0)
        scalars = {
            "zero_grad_fraction": float(counts[:_FIRST_NORMAL].sum() / max(counts.sum(), 1)),
            "nonfinite_grads": float(counts[_FIRST_INFINITE:].sum()),
        }
        return Signals(scalars, {name: found for name, found in histograms.items() if len(found)})

    return Probe(measure, read)


def _measure(values: Tensor, axis: str) -> dict[str, Tensor]:
    bits = tf.bitcast(values, tf.uint32)  # of int32 the sign bit would be copied by the shift
    bins = tf.bitwise.right_shift(bits, tf.constant(_DROPPED_BITS, tf.uint32))
    found = {"half_octaves": _counts(tf.cast(bins, tf.int32), 2 * _HALF_OCTAVES)}
    return found if axis == "log10" else found | _equal_buckets(values)


def _equal_buckets(values: Tensor) -> dict[str, Tensor]:
    """Counts in equal buckets from `low` to `high`; a single value stands in the middle of its own range."""
    finite = tf.math.is_finite(values)
    values = tf.cast(values, tf.float64)  # float32 overflows on the way from -3e38 to 3e38
    low = tf.reduce_min(tf.where(finite, values, np.inf))
    high = tf.reduce_max(tf.where(finite, values, -np.inf))
    half = tf.where(low == 0, tf.constant(0.5, tf.float64), tf.abs(low) / 2)
    margin = tf.where(high > low, tf.zeros_like(half), half)
    low, high = low - margin, high + margin
    buckets = tf.cast((tf.where(finite, values, low) - low) / (high - low) * _EQUAL_BUCKETS, tf.int32)
    buckets = tf.clip_by_value(buckets, 0, _EQUAL_BUCKETS - 1)
    counts = _counts(tf.where(finite, buckets, _EQUAL_BUCKETS), _EQUAL_BUCKETS + 1)
    return {"buckets": counts[:_EQUAL_BUCKETS], "low": low, "high": high}


def _counts(bins: Tensor, size: int) -> Tensor:
    # Not tf.math.bincount, which needs the largest bin first and does not compile under XLA.
    return tf.raw_ops.DenseBincount(input=bins, size=size, weights=tf.constant([], tf.int32))


def _folded(half_octaves: np.ndarray) -> np.ndarray:
    """Counts by magnitude, of both signs together."""
    return half_octaves.astype(np.int64).reshape(2, _HALF_OCTAVES).sum(axis=0)


def _log10_rows(found: dict) -> np.ndarray:
    """[buckets, 3]: log10 of the left and right edge, and the count; empty buckets at both ends are left out."""
    counts = _folded(found["half_octaves"])[_FIRST_NORMAL:_FIRST_INFINITE]
    filled = np.flatnonzero(counts)
    rows = np.stack([_LOG10_EDGES[:-1], _LOG10_EDGES[1:], counts], axis=1).astype(np.float32)
    return rows[filled[0] : filled[-1] + 1] if filled.size else rows[:0]


def _value_rows(found: dict) -> np.ndarray:
    """[64, 3]: left and right edge, and the count; no rows where nothing is finite."""
    counts = found["buckets"]
    if not counts.any():
        return np.zeros((0, 3), np.float32)
    edges = np.linspace(found["low"], found["high"], _EQUAL_BUCKETS + 1)
    return np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float32)
