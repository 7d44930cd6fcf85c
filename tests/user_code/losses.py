"""Losses of a user's own that are no keras.losses.Loss."""

from __future__ import annotations

import keras
import tensorflow as tf


class Squared:
    def __call__(self, y, found, sample_weight=None):
        return tf.reduce_mean((tf.cast(y[:, None], tf.float32) - found) ** 2)


def squared():
    return lambda y, found, sample_weight=None: Squared()(y, found)


def mean_of_all(y_true, y_pred):
    """One number for the whole batch."""
    return tf.reduce_mean((y_true - y_pred) ** 2)


def of_outputs(y_true, y_pred):
    """A number for each output, not for each example."""
    return tf.reduce_mean((y_true - y_pred) ** 2, 0)


def each(y_true, y_pred):
    return tf.reduce_mean((y_true - y_pred) ** 2, -1)


class Plain(keras.losses.Loss):
    """Reduced in a way of its own."""

    def call(self, y_true, y_pred):
        return tf.reduce_mean((y_true[:, None] - y_pred) ** 2, -1)

    def __call__(self, y_true, y_pred, sample_weight=None):
        return 2 * super().__call__(y_true, y_pred, sample_weight)


class Unweighted(keras.losses.Loss):
    """Takes no weights."""

    def __call__(self, y_true, y_pred):
        return tf.reduce_mean((tf.cast(y_true, tf.float32) - y_pred) ** 2)
