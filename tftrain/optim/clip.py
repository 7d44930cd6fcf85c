"""Clips by a limit that the config gives.

A gradient within its limit stays the same to the bit. Where a norm is NaN or Inf, all that it would scale becomes NaN,
as in TensorFlow; `value` bounds an Inf and leaves a NaN. The step applies nothing of either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tftrain.config.field_types import PositiveFloat
from tftrain.core.numerics import global_norm, norms, square_sums
from tftrain.core.sparse import Gradient, values_of, with_values
from tftrain.core.types import Tensor, Transform
from tftrain.optim.hold import held


def clip_value(limit: PositiveFloat) -> Transform:
    """Every single number of the gradients is held between -limit and limit."""

    def update(grads, state, params):
        over = [tf.reduce_any(tf.abs(values_of(grad)) > limit) for grad in grads]
        clipped = [with_values(grad, tf.clip_by_value(values_of(grad), -limit, limit)) for grad in grads]
        return clipped, state, {"limit": tf.constant(limit, tf.float32), "clipped": tf.reduce_any(over)}

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
    """
    layers = np.array([name.rpartition("/")[0] for name in names])
    together = tf.constant(layers[:, None] == layers[None, :])  # [parameters, parameters]

    def layer_norms(grads: list[Gradient]) -> Tensor:
        # No product with zeros and ones: an Inf in one layer would be a NaN in all.
        squares = square_sums(grads)
        return tf.cast(tf.sqrt(tf.reduce_sum(tf.where(together, squares, 0.0), axis=1)), tf.float32)

    return _by_norms(limit, layer_norms)


def _by_norms(limit: float, norms_of: Callable[[list[Gradient]], Tensor]) -> Transform:
    """`norms_of(grads)` is one norm for all gradients, or one for each, [gradients]."""

    def update(grads, state, params):
        found = norms_of(grads)
        most = tf.constant(limit, tf.float32)
        over = found > most
        return (
            held(grads, found, most),
            state,
            {"limit": most, "clipped": tf.reduce_any(over) if over.shape.rank else over},
        )

    return Transform(lambda params: (), update)
