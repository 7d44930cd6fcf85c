"""Sentences, and a model that looks up their words; and one whose work TensorFlow does not see."""

import keras
import numpy as np
import tensorflow as tf


def sentences():
    random = np.random.default_rng(0)
    return random.integers(0, 50, (60, 7)).astype("int32"), random.integers(
        0, 3, 60
    )


def pooled(*, outputs):
    embedding = keras.layers.Embedding(50, 4, name="words")
    return keras.Sequential(
        [
            embedding,
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(outputs, name="out"),
        ]
    )


class InPython(keras.layers.Layer):
    def call(self, x):
        found = tf.numpy_function(
            lambda x: x.astype("float32"), [x], tf.float32
        )
        return tf.ensure_shape(found, [None, 7])


def unseen(*, outputs):
    return keras.Sequential([InPython(), keras.layers.Dense(outputs)])


def weighted_steps():
    """A target for each time step, and a weight for each sequence, of which half count nothing."""
    random = np.random.default_rng(0)
    x = random.normal(size=(24, 6, 2)).astype("float32")
    return x, x.sum(-1, keepdims=True), np.tile(np.float32([2, 0]), 12)
