"""Parts of a user's own in which something goes wrong while training."""

import keras
import numpy as np
import tensorflow as tf

from tftrain.data.preprocessing import Preprocess

MARK = 999.0


def records(mark: bool = False):
    """60 examples with 4 numbers; one of record 17 may have a mark."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4)).astype("float32")
    x[17, 2] = MARK if mark else 0
    return x, random.integers(0, 3, 60)


def mark_as_nan():
    def apply(x, y, state, seed, training):
        return (tf.where(x == MARK, np.float32("nan"), x) if training else x), y

    return Preprocess(apply, random=True)


def spoiled(shape, dtype=None):
    """An initializer with a NaN in the last place."""
    values = np.full(shape, 0.1, np.float32)
    values.flat[-1] = np.nan
    return tf.constant(values, dtype)


class Log(keras.layers.Layer):
    """A logarithm, also of what is 0."""

    def call(self, x):
        return tf.math.log(x)


class Root(keras.layers.Layer):
    """A root, whose slope at 0 is infinite."""

    def call(self, x):
        return tf.sqrt(tf.nn.relu(x))


class Steep(keras.layers.Layer):
    """Gives back what it gets; its gradient is too large for half precision."""

    def call(self, x):
        return _steep(x)


@tf.custom_gradient
def _steep(x):
    return (
        x,
        lambda upstream: (
            upstream * tf.cast(60000, x.dtype) * tf.cast(60000, x.dtype)
        ),
    )


class Late(keras.layers.Layer):
    """Finite whatever it gets; the gradient of what is large is not."""

    def call(self, x):
        return _late(x)


@tf.custom_gradient
def _late(x):
    def backward(upstream):
        return tf.where(
            tf.abs(x) > 100, np.float32("nan"), upstream * (1 - tf.tanh(x) ** 2)
        )

    return tf.tanh(x), backward
