"""Logits or probabilities, told by what makes the outputs; the truth of each model is known from how it is written."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.models.endings import read_ending
from tftrain.models.spans import span_of

L = keras.layers
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


def functional(ending, shape=(3,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, ending(inputs))


def sigmoid(x):
    return L.Dense(1, activation="sigmoid")(x)


class Hidden(keras.Model):
    """Keeps to itself what it ends in."""

    def __init__(self, function, units=2):
        super().__init__()
        self.function, self.dense = function, L.Dense(units)

    def call(self, x):
        return self.function(self.dense(x))


MODELS = {  # name: (model, activation, logits)
    "dense": (lambda: functional(L.Dense(2)), "linear", True),
    "softmax": (
        lambda: functional(L.Dense(2, activation="softmax")),
        "softmax",
        False,
    ),
    "sigmoid operation": (
        lambda: functional(lambda x: keras.ops.sigmoid(L.Dense(1)(x))),
        "sigmoid",
        False,
    ),
    "softmax operation": (
        lambda: functional(lambda x: keras.ops.softmax(L.Dense(2)(x))),
        "softmax",
        False,
    ),
    "tf.nn": (lambda: Hidden(tf.nn.softmax), "softmax", False),
    "subclass of one output": (
        lambda: Hidden(tf.nn.sigmoid, 1),
        "sigmoid",
        False,
    ),
    "subclass of logits": (lambda: Hidden(tf.identity), "linear", True),
    "cast": (
        lambda: functional(
            lambda x: L.Activation("linear", dtype="float32")(sigmoid(x))
        ),
        "sigmoid",
        False,
    ),
    "reshape": (
        lambda: functional(lambda x: L.Reshape((1, 1))(sigmoid(x))),
        "sigmoid",
        False,
    ),
    "dropout": (
        lambda: functional(lambda x: L.Dropout(0.5)(sigmoid(x))),
        "sigmoid",
        False,
    ),
    "rescaled by 1": (
        lambda: functional(lambda x: L.Rescaling(1.0)(sigmoid(x))),
        None,
        False,
    ),
    "lambda": (
        lambda: functional(lambda x: L.Lambda(lambda t: t + 0.0)(sigmoid(x))),
        None,
        False,
    ),
    "nested": (
        lambda: keras.Sequential(
            [keras.Input((3,)), keras.Sequential([sigmoid_layer()])]
        ),
        "sigmoid",
        False,
    ),
    "one minus": (lambda: functional(lambda x: 1.0 - sigmoid(x)), None, False),
    "both classes": (
        lambda: functional(
            lambda x: L.Concatenate()([1 - (p := sigmoid(x)), p])
        ),
        None,
        False,
    ),
    "average": (
        lambda: functional(lambda x: L.Average()([sigmoid(x), sigmoid(x)])),
        None,
        False,
    ),
    "product": (
        lambda: functional(lambda x: sigmoid(x) * sigmoid(x)),
        None,
        False,
    ),
    "smoothed": (
        lambda: functional(lambda x: 0.05 + 0.9 * sigmoid(x)),
        None,
        False,
    ),
    "of tanh": (
        lambda: functional(
            lambda x: 0.5 * (1 + L.Dense(1, activation="tanh")(x))
        ),
        None,
        False,
    ),
    "hard sigmoid": (
        lambda: functional(L.Dense(1, activation="hard_sigmoid")),
        None,
        False,
    ),
    "sparsemax": (
        lambda: functional(L.Dense(3, activation="sparsemax")),
        None,
        False,
    ),
    "mixture": (lambda: functional(mixture), None, False),
    "clipped": (
        lambda: functional(
            lambda x: keras.ops.clip(sigmoid(x), 1e-7, 1 - 1e-7)
        ),
        None,
        False,
    ),
    "gate": (
        lambda: functional(lambda x: 4.0 * L.Dense(1)(x) * sigmoid(x)),
        None,
        True,
    ),
    "five times": (lambda: functional(lambda x: 5.0 * sigmoid(x)), None, True),
    "beyond 1": (
        lambda: functional(lambda x: L.Rescaling(1.2)(sigmoid(x))),
        None,
        True,
    ),
    "log softmax": (
        lambda: functional(L.Dense(2, activation="log_softmax")),
        None,
        True,
    ),
    "layer behind": (
        lambda: functional(lambda x: L.Dense(1)(sigmoid(x))),
        "linear",
        True,
    ),
    "normalized behind": (
        lambda: functional(lambda x: L.LayerNormalization()(L.Dense(3)(x))),
        None,
        True,
    ),
    "gate last in layers": (
        lambda: functional(lambda x: L.Multiply()([L.Dense(1)(x), sigmoid(x)])),
        None,
        True,
    ),
}


def sigmoid_layer():
    return L.Dense(1, activation="sigmoid")


def mixture(x):
    """Of two experts, each weighted by a gate."""
    gates, experts = (
        L.Dense(2, activation="softmax")(x),
        L.Dense(2, activation="sigmoid")(x),
    )
    return keras.ops.sum(gates * experts, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_ends_in(name):
    build, activation, logits = MODELS[name]
    keras.utils.set_random_seed(1)
    model = build()
    ending = read_ending(model, X, model(X))
    assert (ending.activation, ending.logits) == (activation, logits)
    assert ending.certain == (name not in ("mixture", "beyond 1", "sparsemax"))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    ("activation", "logits"), [("sigmoid", False), ("linear", True)]
)
def test_in_half_precision(policy, activation, logits):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = functional(
            lambda x: L.Activation("linear", dtype="float32")(
                L.Dense(1, activation=activation)(x)
            )
        )
    finally:
        keras.config.set_dtype_policy(before)
    assert read_ending(model, X, model(X)).logits is logits


@pytest.mark.parametrize(
    "ending",
    [L.Dense(2, activation="softmax"), L.LSTM(2, return_sequences=True)],
)
def test_at_each_step_of_sequences(ending):
    series = np.random.default_rng(1).normal(size=(6, 4, 3)).astype("float32")
    for time in (4, None):
        inner = (
            L.TimeDistributed(ending) if isinstance(ending, L.Dense) else ending
        )
        model = functional(inner, (time, 3))
        found = read_ending(model, series, model(series))
        assert found.logits is not isinstance(ending, L.Dense)


def test_softmax_over_another_axis():
    images = np.random.default_rng(1).normal(size=(6, 4, 3)).astype("float32")
    model = functional(lambda x: L.Softmax(axis=1)(L.Dense(2)(x)), (4, 3))
    assert read_ending(model, images, model(images)).activation == "softmax"


def test_a_model_from_a_file(tmp_path):
    model = functional(lambda x: keras.ops.sigmoid(L.Dense(1)(x)))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert read_ending(again, X, again(X)).activation == "sigmoid"


def test_what_cannot_be_traced_is_told_by_its_values():
    class Eager(keras.Model):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return tf.constant(self.function(x.numpy()))

    def ending(function):
        return read_ending(Eager(function), X, tf.constant(function(X)))

    assert ending(lambda x: x)[:3] == (True, None, True)
    rows = ending(lambda x: np.abs(x) / np.abs(x).sum(-1, keepdims=True))
    assert (rows.logits, rows.certain) == (False, True)
    within = ending(lambda x: (np.abs(x) / 10)[:, :1])
    assert (within.logits, within.certain) == (
        False,
        False,
    ) and "lie between" in within.why
    assert ending(lambda x: np.zeros_like(x[:, :1])).logits


def test_bounds_hold_what_a_graph_gives():
    """Every value lies within the bounds, and both are reached where they are exact."""
    x = tf.constant(np.linspace(-4, 4, 81).astype("float32"))
    for function, low, high in (
        (lambda t: 2 * tf.sigmoid(t) - 3, -3, -1),
        (lambda t: tf.tanh(t) / -2 + 1, 0.5, 1.5),
        (lambda t: tf.square(tf.tanh(t)), 0, 1),
        (lambda t: tf.exp(tf.tanh(t)), np.exp(-1), np.e),
        (lambda t: tf.abs(tf.sin(t) - 0.5), 0, 1.5),
        (
            lambda t: tf.where(t > 0, tf.sigmoid(t), tf.zeros_like(t)),
            None,
            None,
        ),
        (lambda t: tf.nn.relu(-tf.sigmoid(t)), 0, 0),
        (lambda t: tf.minimum(tf.maximum(t, -1.0), 2.0), -1, 2),
    ):
        span = span_of(
            tf.function(function).get_concrete_function(x).outputs[0]
        )
        values = function(x).numpy()
        assert (
            span.low - 1e-6 <= values.min() and values.max() <= span.high + 1e-6
        )
        if low is not None:
            np.testing.assert_allclose(
                [span.low, span.high], [low, high], rtol=1e-6
            )
