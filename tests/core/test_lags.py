"""The gradient with respect to the states of recurrent layers, beside a loop over the cells that is written out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.lags import state_gradients
from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch

LAYERS = keras.layers
BATCH = Batch(tf.constant(np.random.default_rng(0).normal(size=(5, 6, 2)), tf.float32), tf.ones((5, 1)))


def model_of(*layers):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6, 2)), *layers, LAYERS.Dense(1)])
    return KerasObjective(model, keras.losses.MeanSquaredError())


@pytest.mark.parametrize("kind", [LAYERS.SimpleRNN, LAYERS.GRU, LAYERS.LSTM])
def test_both_layers_agree_with_a_loop_over_their_cells(kind):
    objective = model_of(kind(3, return_sequences=True), kind(4))
    below, above, last = objective.model.layers
    lower, upper = ([tf.zeros((5, size)) for size in layer.state_size] for layer in (below, above))
    seen = [[], []]
    with tf.GradientTape() as tape:
        for step in range(6):
            h, [_, *rest] = below.cell(BATCH.x[:, step], lower)
            h = tf.identity(h)
            tape.watch(h)
            lower = [h, *rest]
            g, [_, *rest] = above.cell(h, upper)
            g = tf.identity(g)
            tape.watch(g)
            upper = [g, *rest]
            seen[0].append(h)
            seen[1].append(g)
        loss = tf.reduce_mean((last(g) - BATCH.y) ** 2)
    wanted = [tf.stack(one, 1) for one in tape.gradient(loss, seen)]
    found = tf.function(lambda: state_gradients(objective, BATCH), autograph=False)()
    assert [name[:4] for name in found] == ["000.", "001."]
    for mine, theirs in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)  # float32, sums in another order


def test_a_layer_that_goes_backwards_is_told_forward_in_time():
    objective = model_of(LAYERS.Bidirectional(LAYERS.SimpleRNN(3)))
    forward, backward = state_gradients(objective, BATCH).values()
    assert np.linalg.norm(forward[:, -1]) > np.linalg.norm(forward[:, 0]) / 10
    np.testing.assert_allclose(  # its last state is at the first time step, where the loss reaches it at once
        np.linalg.norm(backward[:, 0]), np.linalg.norm(forward[:, -1]), rtol=1.5
    )
    assert not np.allclose(backward[:, 0], backward[:, -1])


def test_a_model_without_recurrent_layers_has_none():
    assert state_gradients(model_of(LAYERS.Flatten()), BATCH) == {}
