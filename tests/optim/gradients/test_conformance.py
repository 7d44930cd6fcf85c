"""Every gradient method against `backprop` in float64, on dense, convolutional and recurrent models."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.config import registry
from tftrain.config.component import Component
from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.optim.gradients.backprop import backprop

layers = keras.layers


def dense():
    hidden = layers.Dense(
        4, activation="tanh", kernel_regularizer="l2", activity_regularizer="l2"
    )
    return keras.Sequential(
        [keras.Input((3,)), hidden, layers.Dropout(0.5), layers.Dense(2)]
    )


def convolutional():
    convolution = [
        layers.Conv2D(2, 2, use_bias=False),
        layers.BatchNormalization(),
        layers.Activation("softplus"),
    ]
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            *convolution,
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def simple_rnn():
    return keras.Sequential(
        [keras.Input((3, 2)), layers.SimpleRNN(3), layers.Dense(2)]
    )


def gru():
    return keras.Sequential(
        [keras.Input((2, 2)), layers.GRU(2), layers.Dense(2)]
    )


def lstm():
    return keras.Sequential(
        [keras.Input((3, 2)), layers.LSTM(2), layers.Dense(2)]
    )


def lstm_of_words():
    words = layers.Embedding(5, 2, mask_zero=True)
    return keras.Sequential(
        [
            keras.Input((2,), dtype="int64"),
            words,
            layers.LSTM(2),
            layers.Dense(2),
        ]
    )


MODELS = (dense, convolutional, simple_rnn, gru, lstm_of_words)
EXACT = 1e-12  # the same derivative, summed up in another order
# Differences stand beside the exact gradient by step^2 = 6e-11 and step = 1.5e-8 times derivatives of a higher order,
# and by the rounding of the loss over the step, 3e-11 and 1.5e-8.
CENTRAL, ONE_SIDED = 1e-8, 1e-6

METHODS = [  # the method as a config says it, the models it is for, and how far it may be from backprop
    ({"name": "numeric"}, MODELS, CENTRAL),
    ({"name": "numeric", "sided": "forward"}, MODELS, ONE_SIDED),
    ({"name": "forward"}, MODELS, EXACT),
    (
        {"name": "truncated_bptt"},
        (simple_rnn, gru, lstm_of_words),
        EXACT,
    ),  # the window is longer than the sequences
    ({"name": "rtrl"}, (simple_rnn, gru, lstm), EXACT),
    (
        {"name": "gradients:example_by_example"},
        (simple_rnn, gru),
        EXACT,
    ),  # no dropout, no statistics of a batch
]
CASES = [
    pytest.param(
        given, model, limit, id=f"{'-'.join(given.values())}-{model.__name__}"
    )
    for given, models, limit in METHODS
    for model in models
]


def problem(make):
    """The objective of a model from its seed, and a batch for it."""
    keras.utils.set_random_seed(1)
    model, random = make(), np.random.default_rng(0)
    shape = (4, *model.input_shape[1:])
    x = (
        random.integers(0, 5, shape)
        if make is lstm_of_words
        else random.normal(size=shape)
    )
    y = tf.constant(random.normal(size=(4, 2)))
    return KerasObjective(model, keras.losses.MeanSquaredError()), Batch(
        tf.constant(x), y
    )


def evaluated(build, make):
    """The loss, the gradients and the model's variables afterwards, as arrays, of one evaluation in a graph."""
    objective, batch = problem(make)
    method = build(names=(), model=objective.model, rows=4)
    found = tf.function(
        lambda: method(objective, batch, ())[:3], autograph=False
    )()
    grads = [tf.convert_to_tensor(grad).numpy() for grad in found[1]]
    return (
        found[0].numpy(),
        grads,
        [variable.numpy() for variable in objective.model.variables],
        found[2].numpy(),
    )


@functools.cache
def reference(make):
    return evaluated(lambda **_: backprop(), make)


def worst(grads, exact):
    """The largest difference anywhere, relative to the largest number of the gradient."""
    differences = (
        np.abs(mine - theirs).max()
        for mine, theirs in zip(grads, exact, strict=True)
    )
    return max(differences) / max(np.abs(one).max() for one in exact)


@pytest.mark.parametrize("given, make, limit", CASES)
def test_agrees_with_backprop(float64, own_parts, given, make, limit):
    name, target = registry.find("method", given["name"])
    arguments = {key: value for key, value in given.items() if key != "name"}
    loss, grads, after, outputs = evaluated(
        Component("method", name, target, arguments).build, make
    )
    exact_loss, exact, exact_after, exact_outputs = reference(make)
    assert all(grad.dtype == np.float64 for grad in [*grads, *exact])
    np.testing.assert_allclose(loss, exact_loss, rtol=1e-14)
    np.testing.assert_allclose(outputs, exact_outputs, rtol=1e-14)
    difference = worst(grads, exact)
    print(f"{difference:.1e}")  # pytest -rP shows it
    assert difference <= limit
    # Moving averages have gone on, and dropout has drawn, exactly once.
    for mine, theirs in zip(after, exact_after, strict=True):
        np.testing.assert_array_equal(mine, theirs)
