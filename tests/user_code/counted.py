"""Data of which not everything counts alike, and layers and losses that join the examples of a batch."""

import keras
import numpy as np
import tensorflow as tf


def rare(weights_of: str = "both"):
    """Two classes, the rarer of which weighs more, in training or in validation too."""
    random = np.random.default_rng(0)
    splits = {}
    for name, size in (("train", 24), ("validation", 17)):
        x = random.normal(size=(size, 3)).astype("float32")
        y = (x[:, 0] + random.normal(size=size) > 1).astype("int64")
        weight = np.where(y == 1, 5.0, 1.0)
        splits[name] = (
            (x, y, weight) if weights_of in (name, "both") else (x, y)
        )
    return splits


def tagged(void: int = -1, weighted: bool = False):
    """A label at each of four time steps, some of which are unknown."""
    random = np.random.default_rng(0)
    x = random.normal(size=(22, 4, 2)).astype("float32")
    y = x.argmax(-1) + (x.sum(-1) > 1)
    y[random.uniform(size=y.shape) < np.linspace(0, 0.8, 22)[:, None]] = void
    weight = random.uniform(0, 2, y.shape)
    return (x, y, weight) if weighted else (x, y)


@keras.saving.register_keras_serializable(package="tests")
class Spread(keras.layers.Layer):
    """Adds how far the examples of a batch lie apart to the loss."""

    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.std(x, 0)))
        return x


class Unsure(keras.losses.Loss):
    """Leaves out what the model is sure of."""

    def call(self, y_true, y_pred):
        values = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        values._keras_mask = tf.reduce_max(y_pred, -1) < 2
        return values
