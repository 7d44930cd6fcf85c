"""Data and a loss of a user's own, for the configs of scripts/torture/run."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

MARK = 99.0  # a target that has no finite loss


def blobs(
    examples: int = 1000,
    features: int = 64,
    classes: int = 10,
    *,
    seed: int = 0,
):
    """Clouds of points, one for each class."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, examples)
    centers = 0.3 * random.normal(size=(classes, features))
    return (centers[y] + random.normal(size=(examples, features))).astype(
        "float32"
    ), y


def images(examples: int = 500, *, seed: int = 0):
    """Clouds of images [12, 12, 1] in four classes."""
    x, y = blobs(examples, 144, 4, seed=seed)
    return x.reshape(-1, 12, 12, 1), y


def series(examples: int = 500, *, seed: int = 0):
    """Series [20, 4] in three classes."""
    x, y = blobs(examples, 80, 3, seed=seed)
    return x.reshape(-1, 20, 4), y


def stream(examples: int = 700, *, seed: int = 0):
    """The clouds as a tf.data.Dataset, whose examples can only be reached one after another."""
    x, y = blobs(examples, seed=seed)
    return tf.data.Dataset.from_tensor_slices((x, y)).map(
        lambda x, y: (tf.sqrt(tf.abs(x)), y)
    )


def marked(examples: int = 600, *, seed: int = 0):
    """Numbers to find, three of which have no finite loss."""
    x, y = blobs(examples, seed=seed)
    y = y.astype("float32")[:, None]
    y[[5, 100, 333]] = MARK
    return x, y


def marked_error(y_true, y_pred):
    """The squared error, and NaN where the target is the mark."""
    found = tf.reduce_mean(tf.square(y_true - y_pred), -1)
    return tf.where(y_true[:, 0] == MARK, np.nan, found)
