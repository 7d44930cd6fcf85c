"""Clips: bounds on the gradients, exactly as TensorFlow means the words.

Each reports its limit and whether it changed anything in this step (1 or 0).
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tftrain.core.norms import norms
from tftrain.core.types import Tensor, Transform
from tftrain.values import PositiveFloat

Measured = dict[str, Tensor]


def clip_value(limit: PositiveFloat) -> Transform:
    """Every single number of the gradients is held between -limit and limit."""

    def clip(grads: list[Tensor]) -> tuple[list[Tensor], Measured]:
        over = [tf.reduce_any(tf.abs(grad) > limit) for grad in grads]
        return [tf.clip_by_value(grad, -limit, limit) for grad in grads], _report(limit, tf.reduce_any(over))

    return _stateless(clip)


def clip_norm(limit: PositiveFloat) -> Transform:
    """The gradient of each parameter is scaled down to norm `limit` where it is longer."""

    def clip(grads: list[Tensor]) -> tuple[list[Tensor], Measured]:
        over = norms(grads) > limit
        return [tf.clip_by_norm(grad, limit) for grad in grads], _report(limit, tf.reduce_any(over))

    return _stateless(clip)


def clip_global_norm(limit: PositiveFloat) -> Transform:
    """All gradients are scaled by one factor so that their common norm is at most `limit` (Pascanu et al., 2013)."""

    def clip(grads: list[Tensor]) -> tuple[list[Tensor], Measured]:
        norm = tf.linalg.global_norm(grads)
        clipped, _ = tf.clip_by_global_norm(grads, limit, use_norm=norm)
        return clipped, {"factor": tf.minimum(1.0, limit / norm), **_report(limit, norm > limit)}

    return _stateless(clip)


def _stateless(clip: Callable[[list[Tensor]], tuple[list[Tensor], Measured]]) -> Transform:
    def update(grads, state, params):
        clipped, measured = clip(grads)
        return clipped, state, measured

    return Transform(lambda params: (), update)


def _report(limit: float, clipped: Tensor) -> Measured:
    return {"limit": tf.constant(limit, tf.float32), "clipped": tf.cast(clipped, tf.float32)}
