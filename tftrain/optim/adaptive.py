"""A clip that measures each gradient by the size of the weights that it changes."""

from __future__ import annotations

import tensorflow as tf

from tftrain.config.field_types import PositiveFloat
from tftrain.core.sparse import values_of, with_values
from tftrain.core.types import Tensor, Transform
from tftrain.optim.hold import factor


def clip_adaptive(ratio: PositiveFloat = 0.01, epsilon: PositiveFloat = 1e-3) -> Transform:
    """The gradient of each unit is scaled down to `ratio` times the norm of the unit's weights where it is longer.

    Weights count as at least `epsilon` (Brock et al., 2021, equation 3). The units of a kernel are its last axis; a
    vector or a scalar is one unit. The authors leave out the last layer.
    """

    def update(grads, state, params):
        clipped, over = [], []
        for grad, param in zip(grads, params, strict=True):
            found, most = _unit_norms(values_of(grad), param), ratio * tf.maximum(_unit_norms(param, param), epsilon)
            clipped.append(with_values(grad, values_of(grad) * factor(found, most)))
            over.append(tf.reduce_any(found > most))
        return clipped, state, {"clipped": tf.reduce_any(over)}

    return Transform(lambda params: (), update)


def _unit_norms(values: Tensor, param: Tensor) -> Tensor:
    """The norm of each unit of a parameter, in a shape that its gradient can be multiplied by."""
    long_axes = [size for size in param.shape if size != 1]
    axes = None if len(long_axes) <= 1 else list(range(len(param.shape) - 1))
    squares = tf.square(tf.cast(values, tf.float32))
    return tf.sqrt(tf.reduce_sum(squares, axis=axes, keepdims=axes is not None))
