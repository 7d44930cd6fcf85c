"""Preprocessing of a user's that learns, and a model with a layer that no config names."""

import keras
import numpy as np
import tensorflow as tf

from tftrain.data.preprocessing import Preprocess

SECONDS = 1_700_000_000.0


def timed(examples: int = 60):
    """One feature is a time in seconds, the other a kind of three; the target goes by both."""
    random = np.random.default_rng(5)
    time, kind = (
        SECONDS + random.uniform(0, 90, examples),
        random.integers(0, 3, examples),
    )
    y = (time - SECONDS) / 90 + kind
    return {"time": time[:, None], "kind": kind}, y[:, None]


def kinds():
    """One-hot kinds, and the time shifted by what was learned."""

    def fit(batches, facts):
        return {
            "mean": np.float64(
                np.mean(np.concatenate([batch.x["time"] for batch in batches]))
            ),
            "depth": 3,
        }

    def apply(x, y, state, seed, training):
        time = tf.cast(x["time"] - state["mean"], tf.float32) / 90
        return {
            "both": tf.concat([time, tf.one_hot(x["kind"], state["depth"])], 1)
        }, y

    return Preprocess(apply, fit)


def centred():
    """Learns something of a class of its own."""

    class Mean:
        def __init__(self, value):
            self.value = value

    def fit(batches, facts):
        return Mean(
            float(np.mean(np.concatenate([batch.x for batch in batches])))
        )

    return Preprocess(
        lambda x, y, state, seed, training: (x - state.value, y), fit
    )


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def halves(x):
    return x / 2


def network():
    inputs = {"both": keras.Input((4,), name="both")}
    return keras.Model(
        inputs,
        keras.layers.Dense(1, activation=halves)(Doubled()(inputs["both"])),
    )
