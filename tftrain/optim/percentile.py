"""A clip that finds its own limit."""

from __future__ import annotations

from typing import Annotated

import tensorflow as tf

from tftrain.config.field_types import PositiveInt, Range
from tftrain.core.numerics import global_norm, square_sums
from tftrain.core.types import Tensor, Transform
from tftrain.optim.hold import held


def clip_percentile(percent: Annotated[float, Range(0, 100)] = 10.0, window: PositiveInt = 1000) -> Transform:
    """The global norm is held to a percentile of its last `window` values (AutoClip; Seetharaman et al., 2020).

    They are the norms before clipping; the present one is among them, so the first step is never clipped.
    """
    positions = tf.range(window, dtype=tf.int64)

    def init(params):
        return {"norms": tf.zeros([window]), "count": tf.zeros([], tf.int64)}

    def update(grads, state, params):
        norm = global_norm(square_sums(grads))
        history = tf.where(positions == state["count"] % window, norm, state["norms"])  # the newest replaces the oldest
        count = state["count"] + 1
        limit = percentile(history, tf.minimum(count, window), percent)
        measured = {"limit": limit, "clipped": norm > limit}
        return held(grads, norm, limit), {"norms": history, "count": count}, measured

    return Transform(init, update)


def percentile(values: Tensor, count: Tensor, percent: float) -> Tensor:
    """The percentile of the first `count` values, between two of them on a straight line, as NumPy has it.

    Hyndman & Fan (1996), definition 7.
    """
    here = tf.range(values.shape[0], dtype=tf.int64) < count
    ordered = tf.sort(tf.where(here, values, tf.float32.max))
    rank = tf.cast(count - 1, tf.float64) * (
        percent / 100
    )  # in float32 a rank of 1000 has only 4 digits behind the point
    below = tf.cast(tf.floor(rank), tf.int64)
    low, high = ordered[below], ordered[tf.minimum(below + 1, count - 1)]
    return low + (high - low) * tf.cast(rank - tf.floor(rank), tf.float32)
