"""A model with batch normalization, beside data whose mean is far from that of its moving averages."""

from __future__ import annotations

import keras
import numpy as np


def shifted():
    random = np.random.default_rng(17)
    x = (5 + 2 * random.normal(size=(24, 3))).astype(np.float32)
    return x, x.sum(1, keepdims=True)


def model():
    layers, drawn = keras.layers, keras.initializers.RandomUniform
    inputs = keras.Input((3,))
    block = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, kernel_initializer=drawn(seed=1), name="dense"),
            layers.BatchNormalization(scale=False, center=False, name="bare"),
        ],
        name="block",
    )
    outputs = layers.BatchNormalization(name="norm")(block(inputs))
    return keras.Model(
        inputs,
        layers.Dense(1, kernel_initializer=drawn(seed=2), name="head")(outputs),
    )
