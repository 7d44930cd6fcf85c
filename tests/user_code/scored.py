"""Models, data, losses and metrics of a user's own, for what they are scored by."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

X = np.random.default_rng(3).normal(size=(60, 2)).astype("float32")
RARE = (X[:, 0] + 0.8 * X[:, 1] > 1.4).astype("int64")  # few of class 1


def rare(form: str = "labels"):
    """A rare class 1: as labels, as a column of floats or as rows of both classes."""
    return X, {
        "labels": RARE,
        "floats": RARE[:, None].astype("float32"),
        "rows": np.eye(2, dtype="float32")[RARE],
    }[form]


def numbers(kind: str = "years"):
    """Whole numbers that are no classes."""
    whole = np.round(3 * X[:, 0]).astype("int64")
    return X, {
        "years": 1990 + whole,
        "degrees": whole,
        "prices": 40 * np.abs(whole),
        "signs": 2 * RARE - 1,
    }[kind]


def flat():
    """Numbers [n] for a model that gives [n, 1]."""
    return X, (X @ [1.0, -2.0]).astype("float32")


def weights(seed: int):
    return keras.initializers.RandomUniform(-0.9, 0.9, seed=seed)


def linear(units: int = 1, activation: str = "linear", bias: float = 0.0):
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(
        units,
        kernel_initializer=weights(1),
        bias_initializer=keras.initializers.Constant(bias),
    )
    return keras.Model(inputs, keras.activations.get(activation)(dense(inputs)))


def squared(y_true, y_pred):
    return tf.square(y_true - y_pred)


def of_a_column(y_true, y_pred):
    """Broadcasts targets [n, 1] and outputs [n]."""
    return tf.reduce_mean(tf.square(y_true - y_pred[:, 0]))


def ranked(y_true, y_pred):
    """Of pairs of examples, by intention."""
    y_true, y_pred = tf.reshape(y_true, [-1, 1]), tf.reshape(y_pred, [-1, 1])
    return tf.nn.relu(
        1 - (y_true - tf.transpose(y_true)) * (y_pred - tf.transpose(y_pred))
    )


def deviation(y_true, y_pred):
    return tf.abs(y_true - y_pred)


def focal(y_true, y_pred):
    """On logits."""
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
    return tf.reduce_mean(cross_entropy * (1 - tf.exp(-cross_entropy)) ** 2, -1)


class Squared(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return tf.square(y_true - y_pred)


class MeanSquared(keras.losses.Loss):
    """One number for the batch, in which no shape shows what was compared."""

    def call(self, y_true, y_pred):
        return tf.reduce_mean(tf.square(y_true - y_pred))


class Reshaping(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return tf.square(tf.reshape(y_true, tf.shape(y_pred)) - y_pred)


class Deviation(keras.metrics.Mean):
    """As a metric."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(tf.abs(y_true - y_pred), sample_weight)


class Stepping(keras.Model):
    """Trains in a way of its own; a subclass says in which."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)


class WithTrainStep(Stepping):
    def train_step(self, data):
        return {"loss": 3.0}


class WithTestStep(Stepping):
    def test_step(self, data):
        return {"loss": 3.0}


class WithLoss(Stepping):
    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return 3 * tf.reduce_mean((y - y_pred) ** 2)


class WithMetrics(Stepping):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {}


class Mixin:
    def train_step(self, data):
        return {"loss": 3.0}


class Mixed(Mixin, keras.Model):
    """Of Keras' functional kind."""


def with_mixin():
    inputs = keras.Input((2,))
    return Mixed(inputs, keras.layers.Dense(1)(inputs))


def with_own_method():
    model = linear()
    model.compute_loss = lambda **given: 3.0
    return model


def compiled(loss: bool = True):
    model = linear()
    if loss:
        model.compile("adam", loss="mae", loss_weights=3.0)
    else:
        model.compile("adam", metrics=["mae"])
    return model


def normalizing(how: str = "never", inner: bool = False):
    layer = keras.layers.Normalization(
        name="norm",
        **({"mean": 0.0, "variance": 1.0} if how == "given" else {}),
    )
    if how == "adapted":
        layer.adapt(X)
    below = keras.Sequential([keras.Input((2,)), layer]) if inner else layer
    return keras.Sequential([keras.Input((2,)), below, keras.layers.Dense(1)])


class Normalizing(keras.Model):
    """Builds its layers when it is called."""

    def __init__(self):
        super().__init__()
        self.norm, self.dense = (
            keras.layers.Normalization(),
            keras.layers.Dense(1),
        )

    def call(self, x):
        return self.dense(self.norm(x))


def looking_up(kind: str):
    layers = keras.layers
    inputs = keras.Input((2,))
    if kind == "discretization":
        found = layers.Discretization(num_bins=4)(inputs)
    else:
        found = layers.IntegerLookup(max_tokens=5)(
            keras.ops.cast(inputs, "int64")
        )
    return keras.Model(
        inputs, layers.Dense(1)(keras.ops.cast(found, "float32"))
    )


def named(layer: str = "dense", model: str = "model"):
    inputs = keras.Input((2,))
    return keras.Model(
        inputs, keras.layers.Dense(1, name=layer)(inputs), name=model
    )


def flat_linear(activation: str = "linear"):
    """A model that gives [n]."""
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(1, kernel_initializer=weights(1))(inputs)
    return keras.Model(
        inputs, keras.activations.get(activation)(keras.ops.squeeze(dense, -1))
    )


def weighted():
    """Targets [n] with weights of the examples, to validate by too."""
    examples = X, RARE, np.linspace(0, 2, len(X), dtype="float32")
    return {"train": examples, "validation": examples}


def positive(units: int = 3):
    """Scores of any size above 0, which categorical cross-entropy divides by their sum."""
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(units, kernel_initializer=weights(1))(inputs)
    return keras.Model(inputs, keras.ops.relu(4 * dense) + 0.5)


def thirds():
    return X, np.eye(3, dtype="float32")[np.arange(len(X)) % 3]
