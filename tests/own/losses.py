"""Losses of a user's own that are no keras.losses.Loss."""

from __future__ import annotations

import tensorflow as tf


class Squared:
    def __call__(self, y, found, sample_weight=None):
        return tf.reduce_mean((tf.cast(y[:, None], tf.float32) - found) ** 2)


def squared():
    return lambda y, found, sample_weight=None: Squared()(y, found)
