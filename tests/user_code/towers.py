"""Models of a user's own that are made of blocks."""

from __future__ import annotations

import keras
import tensorflow as tf


class Tower(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self.drop = (
            keras.layers.Dense(6, "relu", name="one"),
            keras.layers.Dropout(0.2),
        )

    def call(self, x):
        return self.drop(self.one(x))


class Towers(keras.Model):
    def __init__(self, *, outputs):
        super().__init__()
        self.left, self.right = Tower(name="left"), Tower(name="right")
        self.last = keras.layers.Dense(outputs, name="last")

    def call(self, x):
        return self.last(self.left(x) + self.right(x))


class Noisy(Tower):
    def call(self, x):
        return self.one(x) + tf.random.uniform([6])


class Drawing(Towers):
    def __init__(self, *, outputs):
        super().__init__(outputs=outputs)
        self.left = Noisy(name="left")


class Counting(keras.Model):
    """Counts its calls where Keras does not see it, and grows with them."""

    def __init__(self, *, outputs):
        super().__init__()
        self.hidden, self.last = (
            keras.layers.Dense(4),
            keras.layers.Dense(outputs),
        )
        self.count = tf.Variable(0.0, trainable=False)

    def call(self, x, training=False):
        if training:
            self.count.assign_add(1.0)
        return self.last(self.hidden(x) * (1 + 0.1 * self.count))


def normed(*, input_shape, outputs):
    """A layer that sets its own weights, so that what trains it is no gradient; Keras numbers them apart."""
    inputs = keras.Input(input_shape)
    hidden = keras.layers.SpectralNormalization(
        keras.layers.Dense(5), name="normed"
    )(inputs)
    return keras.Model(inputs, keras.layers.Dense(outputs)(hidden))
