"""The sizes of tensors, each read once: a global norm is the root of the sum of its parts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.sparse import Gradient, values_of
from tftrain.core.types import Tensor


def square_sums(tensors: Sequence[Gradient]) -> Tensor:
    """The sum of squares of each tensor, [tensors], float64: in float32 a gradient of 1e-23 would count as zero."""
    if not tensors:
        return tf.zeros([0], tf.float64)
    return tf.stack([tf.reduce_sum(tf.square(tf.cast(values_of(tensor), tf.float64))) for tensor in tensors])


def norms(tensors: Sequence[Gradient]) -> Tensor:
    """The L2 norm of each tensor, [tensors], float32."""
    return tf.cast(tf.sqrt(square_sums(tensors)), tf.float32)


def global_norm(squares: Tensor) -> Tensor:
    """The L2 norm of all tensors together, float32, from their `square_sums`."""
    return tf.cast(tf.sqrt(tf.reduce_sum(squares)), tf.float32)
