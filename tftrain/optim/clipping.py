"""A clip that measures each gradient by the size of the weights that it changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import tensorflow as tf

from tftrain.config.field_types import PositiveFloat, PositiveInt, Range
from tftrain.core.numerics import (
    Gradient,
    global_norm,
    norms,
    square_sums,
    stored_values,
    with_values,
)
from tftrain.core.types import Tensor, Transform


def clip_adaptive(
    ratio: PositiveFloat = 0.01, epsilon: PositiveFloat = 1e-3
) -> Transform:
    """The gradient of each unit is scaled down to `ratio` times the norm of the unit's weights where it is longer.

    Weights count as at least `epsilon` (Brock et al., 2021, equation 3). The units of a kernel are its last axis; a
    vector or a scalar is one unit. The authors leave out the last layer.

    Args:
        ratio: the largest norm of a unit's gradient, as a share of the norm of its weights.
        epsilon: the least that the norm of weights counts as.
    """

    def update(grads, state, params):
        clipped, over = [], []
        for grad, param in zip(grads, params, strict=True):
            unit_norms, limits = (
                _unit_norms(stored_values(grad), param),
                ratio * tf.maximum(_unit_norms(param, param), epsilon),
            )
            clipped.append(
                with_values(grad, stored_values(grad) * clip_factor(unit_norms, limits))
            )
            over.append(tf.reduce_any(unit_norms > limits))
        return clipped, state, {"clipped": tf.reduce_any(over)}

    return Transform(lambda params: (), update)


def _unit_norms(values: Tensor, param: Tensor) -> Tensor:
    """The norm of each unit of a parameter, in a shape that its gradient can be multiplied by."""
    long_axes = [size for size in param.shape if size != 1]
    axes = None if len(long_axes) <= 1 else list(range(len(param.shape) - 1))
    squares = tf.square(tf.cast(values, tf.float32))
    return tf.sqrt(tf.reduce_sum(squares, axis=axes, keepdims=axes is not None))


def clip_value(limit: PositiveFloat) -> Transform:
    """Every single number of the gradients is held between -limit and limit."""

    def update(grads, state, params):
        over = [tf.reduce_any(tf.abs(stored_values(grad)) > limit) for grad in grads]
        clipped = [
            with_values(grad, tf.clip_by_value(stored_values(grad), -limit, limit))
            for grad in grads
        ]
        return (
            clipped,
            state,
            {"limit": tf.constant(limit, tf.float32), "clipped": tf.reduce_any(over)},
        )

    return Transform(lambda params: (), update)


def clip_norm(limit: PositiveFloat) -> Transform:
    """The gradient of each parameter is scaled down to norm `limit` where it is longer."""
    return _by_norms(limit, norms)


def clip_global_norm(limit: PositiveFloat) -> Transform:
    """All gradients are scaled by one factor so that their common norm is at most `limit` (Pascanu et al., 2013)."""
    return _by_norms(limit, lambda grads: global_norm(square_sums(grads)))


def clip_layer_norm(limit: PositiveFloat, *, names: Sequence[str]) -> Transform:
    """The gradients of each layer are scaled by one factor so that their common norm is at most `limit`.

    `names` are those of the parameters, such as `000.dense/kernel`: a layer is what stands before the last slash.

    Args:
        limit: the largest norm of a layer's gradients.
        names: those of the parameters, such as `000.dense/kernel`: a layer is what comes before the last slash.
    """
    layers = np.array([name.rpartition("/")[0] for name in names])
    together = tf.constant(
        layers[:, None] == layers[None, :]
    )  # [parameters, parameters]

    def layer_norms(grads: list[Gradient]) -> Tensor:
        # No product with zeros and ones: an Inf in one layer would be a NaN in all.
        squares = square_sums(grads)
        return tf.cast(
            tf.sqrt(tf.reduce_sum(tf.where(together, squares, 0.0), axis=1)), tf.float32
        )

    return _by_norms(limit, layer_norms)


def _by_norms(limit: float, norms_of: Callable[[list[Gradient]], Tensor]) -> Transform:
    """`norms_of(grads)` is one norm for all gradients, or one for each, [gradients]."""

    def update(grads, state, params):
        norms = norms_of(grads)
        limit_tensor = tf.constant(limit, tf.float32)
        over = norms > limit_tensor
        return (
            scale_to_limit(grads, norms, limit_tensor),
            state,
            {
                "limit": limit_tensor,
                "clipped": tf.reduce_any(over) if over.shape.rank else over,
            },
        )

    return Transform(lambda params: (), update)


def clip_factor(norms: Tensor, limit: Tensor) -> Tensor:
    """Return what scales a norm down to its limit, exactly 1 within it; NaN where the norm is not finite.

    Args:
        norms: a scalar, or [gradients].
        limit: the largest norm.
    """
    shrunk = tf.where(norms > limit, limit / norms, 1.0)
    return tf.where(tf.math.is_finite(norms), shrunk, math.nan)


def scale_to_limit(
    grads: Sequence[Gradient], norms: Tensor, limit: Tensor
) -> list[Gradient]:
    """Return gradients, scaled down so that their norms are within the limit.

    `norms` is one number for all gradients, or one for each, [gradients].

    Args:
        grads: dense or sparse.
        norms: one number for all gradients, or one for each, [gradients].
        limit: the largest norm, of the same shape.
    """
    factor = clip_factor(norms, limit)
    factors = tf.unstack(factor) if factor.shape.rank else [factor] * len(grads)
    return [
        with_values(grad, stored_values(grad) * grad_factor)
        for grad, grad_factor in zip(grads, factors, strict=True)
    ]


def clip_percentile(
    percent: Annotated[float, Range(0, 100)] = 10.0, window: PositiveInt = 1000
) -> Transform:
    """The global norm is held to a percentile of its last `window` values (AutoClip; Seetharaman et al., 2020).

    They are the norms before clipping; the present one is among them, so the first step is never clipped.

    Args:
        percent: from 0 to 100.
        window: how many norms.
    """
    positions = tf.range(window, dtype=tf.int64)

    def init(params):
        return {"norms": tf.zeros([window]), "count": tf.zeros([], tf.int64)}

    def update(grads, state, params):
        norm = global_norm(square_sums(grads))
        history = tf.where(
            positions == state["count"] % window, norm, state["norms"]
        )  # the newest replaces the oldest
        count = state["count"] + 1
        limit = percentile(history, tf.minimum(count, window), percent)
        measured = {"limit": limit, "clipped": norm > limit}
        return (
            scale_to_limit(grads, norm, limit),
            {"norms": history, "count": count},
            measured,
        )

    return Transform(init, update)


def percentile(values: Tensor, count: Tensor, percent: float) -> Tensor:
    """Return a percentile of the first values of a vector, interpolated linearly as in NumPy.

    Hyndman & Fan (1996), definition 7.

    Args:
        values: [window].
        count: how many of them.
        percent: from 0 to 100.
    """
    here = tf.range(values.shape[0], dtype=tf.int64) < count
    ordered = tf.sort(tf.where(here, values, tf.float32.max))
    rank = tf.cast(count - 1, tf.float64) * (
        percent / 100
    )  # in float32 a rank of 1000 has only 4 digits behind the point
    below = tf.cast(tf.floor(rank), tf.int64)
    low, high = ordered[below], ordered[tf.minimum(below + 1, count - 1)]
    return low + (high - low) * tf.cast(rank - tf.floor(rank), tf.float32)
