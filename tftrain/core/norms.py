"""The sizes of tensors, each read once: a global norm is the root of the sum of its parts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.sparse import Gradient, values_of
from tftrain.core.types import Tensor


def square_sums(tensors: Sequence[Gradient]) -> Tensor:
    """The sum of squares of each tensor, [tensors], float32; a norm past 1.8e19 overflows to Inf."""
    if not tensors:
        return tf.zeros([0])
    return tf.stack([tf.reduce_sum(tf.square(tf.cast(values_of(tensor), tf.float32))) for tensor in tensors])


def norms(tensors: Sequence[Gradient]) -> Tensor:
    """The L2 norm of each tensor, [tensors], float32."""
    return tf.sqrt(square_sums(tensors))


def global_norm(squares: Tensor) -> Tensor:
    """The L2 norm of all tensors together, from their `square_sums`."""
    return tf.sqrt(tf.reduce_sum(squares))
