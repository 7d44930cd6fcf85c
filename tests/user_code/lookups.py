"""Models that look up, hash or count by the whole numbers of one feature."""

import keras
import numpy as np
import tensorflow as tf

ROWS = 2**24 + 8


def data(base: int = 2**24):
    ids = base + np.arange(8) % 4
    return ids[:, None].astype("int64"), (ids % 2).astype("int64")


def _table(x):
    z = keras.layers.Embedding(ROWS, 1, embeddings_initializer="zeros")(x)
    return keras.layers.Flatten()(z)


def untyped():
    x = keras.Input((1,))
    return keras.Model(x, _table(x))


def typed():
    x = keras.Input((1,), dtype="int64")
    return keras.Model(x, _table(x))


def flattened():
    x = keras.Input((1,))
    return keras.Model(x, _table(keras.layers.Flatten()(x)))


def nested():
    x = keras.Input((1,))
    return keras.Model(x, untyped()(x))


def sequential():
    table = keras.layers.Embedding(ROWS, 1, embeddings_initializer="zeros")
    return keras.Sequential([table, keras.layers.Flatten()])


def subclassed():
    class Table(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = keras.layers.Embedding(
                ROWS, 1, embeddings_initializer="zeros"
            )

        def call(self, x):
            return self.table(x)[:, 0]

    return Table()


def hashed():
    x = keras.Input((1,), dtype="int64")
    z = keras.layers.Hashing(97)(x)
    return keras.Model(
        x,
        keras.layers.Flatten()(
            keras.layers.Embedding(97, 1, embeddings_initializer="zeros")(z)
        ),
    )


def counted():
    class Counted(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(1)

        def call(self, x):
            return self.last(tf.one_hot(x[:, 0], 4))

    return Counted()


def dense():
    x = keras.Input((1,))
    return keras.Model(x, keras.layers.Dense(1)(x / 2**24))


def narrow():
    x = keras.Input((1,), dtype="int32")
    return keras.Model(
        x, keras.layers.Dense(1)(keras.layers.Hashing(97)(x)[..., None])[:, 0]
    )
