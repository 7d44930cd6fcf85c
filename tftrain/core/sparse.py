"""Sparse gradients, such as that of an embedding: rows of a large parameter, each of them at most once."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tftrain.core.types import Tensor

Gradient = Any  # a tensor, or tf.IndexedSlices


def gradient_dtype() -> tf.DType:
    """What gradients are in, whatever the layers compute in: float64 where that is Keras' floatx, else float32."""
    return tf.float64 if keras.config.floatx() == "float64" else tf.float32


def unique_rows(grad: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with repeated rows summed: norms of the values are then norms of the gradient."""
    rows, position = tf.unique(grad.indices)
    values = tf.math.unsorted_segment_sum(tf.cast(grad.values, gradient_dtype()), position, tf.shape(rows)[0])
    return tf.IndexedSlices(values, rows, grad.dense_shape)


def joined(grads: list[tf.IndexedSlices]) -> tf.IndexedSlices:
    """The sum of sparse gradients of one parameter."""
    values, rows = tf.concat([grad.values for grad in grads], 0), tf.concat([grad.indices for grad in grads], 0)
    return unique_rows(tf.IndexedSlices(values, rows, grads[0].dense_shape))


def values_of(grad: Gradient) -> Tensor:
    """The numbers of a gradient that are stored: all of them, or those of the rows that a sparse one has."""
    return grad.values if isinstance(grad, tf.IndexedSlices) else grad


def with_values(grad: Gradient, values: Tensor) -> Gradient:
    """The gradient with other numbers in the same places."""
    if isinstance(grad, tf.IndexedSlices):
        return tf.IndexedSlices(values, grad.indices, grad.dense_shape)
    return values
