"""Clips: transforms that limit the size of gradients."""

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
    """Scale the gradient of each unit down to at most `ratio` times the norm of the unit's weights.

    Weights count as at least `epsilon` (Brock et al., 2021, equation 3). The units of a kernel are its last axis; a
    vector or a scalar is one unit. The authors leave out the last layer.

    Args:
        ratio: the largest norm of a unit's gradient, as a share of the norm of its weights.
        epsilon: the least that the norm of weights counts as.
    """

    def update(grads, state, params):
        clipped = []
        exceeds = []
        for grad, param in zip(grads, params, strict=True):
            values = stored_values(grad)
            grad_norms = _unit_norms(values, param)
            limits = ratio * tf.maximum(_unit_norms(param, param), epsilon)
            values *= clip_factor(grad_norms, limits)
            clipped.append(with_values(grad, values))
            exceeds.append(tf.reduce_any(grad_norms > limits))
        return clipped, state, {"clipped": tf.reduce_any(exceeds)}

    return Transform(lambda params: (), update)


def _unit_norms(values: Tensor, param: Tensor) -> Tensor:
    """Return the norm of each unit of a parameter, in a shape that its gradient can be multiplied by."""
    long_axes = [size for size in param.shape if size != 1]
    axes = None if len(long_axes) <= 1 else list(range(len(param.shape) - 1))
    squares = tf.square(tf.cast(values, tf.float32))
    return tf.sqrt(tf.reduce_sum(squares, axis=axes, keepdims=axes is not None))


def clip_value(limit: PositiveFloat) -> Transform:
    """Clip each number of the gradients to between -limit and limit.

    Args:
        limit: the largest magnitude.
    """

    def update(grads, state, params):
        clipped = []
        exceeds = []
        for grad in grads:
            values = stored_values(grad)
            exceeds.append(tf.reduce_any(tf.abs(values) > limit))
            values = tf.clip_by_value(values, -limit, limit)
            clipped.append(with_values(grad, values))
        scalars = {
            "limit": tf.constant(limit, tf.float32),
            "clipped": tf.reduce_any(exceeds),
        }
        return clipped, state, scalars

    return Transform(lambda params: (), update)


def clip_norm(limit: PositiveFloat) -> Transform:
    """Scale the gradient of each parameter down to a norm of at most `limit`.

    Args:
        limit: the largest norm of one parameter's gradient.
    """
    return _by_norms(limit, norms)


def clip_global_norm(limit: PositiveFloat) -> Transform:
    """Scale all gradients by one factor so that their global norm is at most `limit` (Pascanu et al., 2013).

    Args:
        limit: the largest global norm.
    """
    return _by_norms(limit, lambda grads: global_norm(square_sums(grads)))


def clip_layer_norm(limit: PositiveFloat, *, names: Sequence[str]) -> Transform:
    """Scale the gradients of each layer by one factor so that their common norm is at most `limit`.

    Args:
        limit: the largest norm of a layer's gradients.
        names: those of the parameters, such as `000.dense/kernel`: a layer is what comes before the last slash.
    """
    layers = np.array([name.rpartition("/")[0] for name in names])
    in_same_layer = tf.constant(layers[:, None] == layers[None, :])

    def layer_norms(grads: list[Gradient]) -> Tensor:
        # No product with zeros and ones: an Inf in one layer would be a NaN in all.
        squares = tf.where(in_same_layer, square_sums(grads), 0.0)
        layer_squares = tf.reduce_sum(squares, axis=1)
        return tf.cast(tf.sqrt(layer_squares), tf.float32)

    return _by_norms(limit, layer_norms)


def _by_norms(
    limit: float, norms_of: Callable[[list[Gradient]], Tensor]
) -> Transform:
    """Return a clip whose `norms_of(grads)` is one norm for all gradients, or one for each, [gradients]."""

    def update(grads, state, params):
        norms = norms_of(grads)
        largest = tf.constant(limit, tf.float32)
        clipped = scale_to_limit(grads, norms, largest)
        exceeds = norms > largest
        if exceeds.shape.rank:
            exceeds = tf.reduce_any(exceeds)
        scalars = {"limit": largest, "clipped": exceeds}
        return clipped, state, scalars

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
    """Clip the global norm to a percentile of its last `window` values (AutoClip; Seetharaman et al., 2020).

    These are the norms before clipping; the present one is among them, so the first step is never clipped.

    Args:
        percent: from 0 to 100.
        window: how many norms.
    """
    positions = tf.range(window, dtype=tf.int64)

    def init(params):
        return {"norms": tf.zeros([window]), "count": tf.zeros([], tf.int64)}

    def update(grads, state, params):
        norm = global_norm(square_sums(grads))
        # The newest norm replaces the oldest.
        oldest = state["count"] % window
        history = tf.where(positions == oldest, norm, state["norms"])
        count = state["count"] + 1
        limit = percentile(history, tf.minimum(count, window), percent)
        clipped = scale_to_limit(grads, norm, limit)
        next_state = {"norms": history, "count": count}
        return clipped, next_state, {"limit": limit, "clipped": norm > limit}

    return Transform(init, update)


def percentile(values: Tensor, count: Tensor, percent: float) -> Tensor:
    """Return a percentile of the first values of a vector, interpolated linearly as in NumPy.

    Hyndman & Fan (1996), definition 7.

    Args:
        values: [window].
        count: how many of them.
        percent: from 0 to 100.
    """
    is_counted = tf.range(values.shape[0], dtype=tf.int64) < count
    ordered = tf.sort(tf.where(is_counted, values, tf.float32.max))
    # In float32 a rank of 1000 would have only 4 digits behind the point.
    rank = tf.cast(count - 1, tf.float64) * (percent / 100)
    below = tf.cast(tf.floor(rank), tf.int64)
    above = tf.minimum(below + 1, count - 1)
    fraction = tf.cast(rank - tf.floor(rank), tf.float32)
    low = ordered[below]
    return low + (ordered[above] - low) * fraction
