"""The gradient with respect to the states of recurrent layers, beside a loop over the cells that is written out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.diagnostics.temporal_gradients import gradients_through_time

LAYERS = keras.layers
BATCH = Batch(
    tf.constant(np.random.default_rng(0).normal(size=(5, 6, 2)), tf.float32),
    tf.ones((5, 1)),
)


def state_gradients(objective, batch):
    return gradients_through_time(objective, batch, {})


def model_of(*layers):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6, 2)), *layers, LAYERS.Dense(1)])
    return KerasObjective(model, keras.losses.MeanSquaredError())


@pytest.mark.parametrize("kind", [LAYERS.SimpleRNN, LAYERS.GRU, LAYERS.LSTM])
def test_both_layers_agree_with_a_loop_over_their_cells(kind):
    objective = model_of(kind(3, return_sequences=True), kind(4))
    below, above, last = objective.model.layers
    lower, upper = (
        [tf.zeros((5, size)) for size in layer.state_size]
        for layer in (below, above)
    )
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
    found = tf.function(
        lambda: state_gradients(objective, BATCH), autograph=False
    )()
    assert [name[:4] for name in found] == ["000.", "001."]
    for mine, theirs in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(
            mine, theirs, rtol=1e-5, atol=1e-7
        )  # float32, sums in another order


@pytest.mark.parametrize("weighted", [False, True])
def test_of_a_target_for_each_step_the_last_one_is_looked_back_from(weighted):
    """A cumulative sum gives all that is told of h_t: that the last output has it is all that counts."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6, 2)),
            LAYERS.SimpleRNN(3, return_sequences=True),
            LAYERS.Dense(1),
        ]
    )
    objective = KerasObjective(
        model, keras.losses.MeanSquaredError(), loss_rank=2
    )
    weight = tf.constant([1.0, 0.0, 2.0, 1.0, 1.0]) if weighted else None
    batch = Batch(BATCH.x, tf.ones((5, 6, 1)), weight)
    recurrent, last = model.layers
    with tf.GradientTape() as tape:
        tape.watch(batch.x)
        states, seen = [tf.zeros((5, 3))], []
        for step in range(6):
            _, states = recurrent.cell(batch.x[:, step], states)
            seen.append(states[0])
        errors = (last(states[0])[:, 0] - 1) ** 2
        loss = tf.reduce_sum(errors if weight is None else errors * weight) / 30
    to_x, wanted = tape.gradient(loss, [batch.x, seen])
    found = gradients_through_time(objective, batch, {"x": batch.x})
    (name, inputs), (layer, states) = found.items()
    assert name == "x" and layer.startswith("000.simple_rnn")
    np.testing.assert_allclose(inputs, to_x, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(
        states, tf.stack(wanted, 1), rtol=1e-5, atol=1e-8
    )


def test_of_padded_sequences_the_last_step_that_counts_is_looked_back_from():
    """Padding behind, in front, and none: the gradient is that of the same sequence without it."""
    keras.utils.set_random_seed(3)
    layers = [
        LAYERS.Masking(),
        LAYERS.GRU(3, return_sequences=True),
        LAYERS.Dense(1),
    ]
    model = keras.Sequential([keras.Input((None, 2)), *layers])
    objective = KerasObjective(
        model, keras.losses.MeanSquaredError(reduction="sum"), loss_rank=2
    )
    x = BATCH.x.numpy()[:3]
    x[0, 4:], x[1, :2] = 0, 0

    def looked_back(rows, steps):
        part = x[rows, steps]
        batch = Batch(tf.constant(part), tf.ones((*part.shape[:2], 1)))
        return gradients_through_time(objective, batch, {})[name].numpy()

    whole = gradients_through_time(
        objective, Batch(tf.constant(x), tf.ones((3, 6, 1))), {}
    )
    [(name, found)] = whole.items()
    found = found.numpy()
    np.testing.assert_allclose(
        found[:1, :4], looked_back(slice(1), slice(4)), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        found[1:2, 2:],
        looked_back(slice(1, 2), slice(2, None)),
        rtol=1e-5,
        atol=1e-7,
    )
    np.testing.assert_allclose(
        found[2:], looked_back(slice(2, 3), slice(None)), rtol=1e-5, atol=1e-7
    )
    assert (np.linalg.norm(found[0, :4], axis=1) > 0).all() and (
        found[0, 4:] == 0
    ).all()


def test_a_layer_that_goes_backwards_is_told_forward_in_time():
    objective = model_of(LAYERS.Bidirectional(LAYERS.SimpleRNN(3)))
    forward, backward = state_gradients(objective, BATCH).values()
    assert np.linalg.norm(forward[:, -1]) > np.linalg.norm(forward[:, 0]) / 10
    np.testing.assert_allclose(  # its last state is at the first time step, where the loss reaches it at once
        np.linalg.norm(backward[:, 0]), np.linalg.norm(forward[:, -1]), rtol=1.5
    )
    assert not np.allclose(backward[:, 0], backward[:, -1])


class Projecting(LAYERS.SimpleRNNCell):
    """A cell that gives something else than its state."""

    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training=training)
        return tf.nn.relu(h), states


def test_a_cell_that_does_not_give_its_state():
    objective = model_of(LAYERS.RNN(Projecting(3)))
    layer, last = objective.model.layers
    states, seen = [tf.zeros((5, 3))], []
    with tf.GradientTape() as tape:
        for step in range(6):
            output, states = layer.cell(BATCH.x[:, step], states)
            seen.append(states[0])
        loss = tf.reduce_mean((last(output) - BATCH.y) ** 2)
    wanted = tf.stack(tape.gradient(loss, seen), 1)
    [found] = tf.function(
        lambda: state_gradients(objective, BATCH), autograph=False
    )().values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    assert np.linalg.norm(found[:, 0]) > 0


def test_each_call_of_a_layer_has_states_of_its_own():
    keras.utils.set_random_seed(3)
    inputs, layer = keras.Input((6, 2)), LAYERS.GRU(3, name="twice")
    outputs = LAYERS.Dense(1)(
        LAYERS.Concatenate()([layer(inputs), layer(2 * inputs)])
    )
    objective = KerasObjective(
        keras.Model(inputs, outputs), keras.losses.MeanSquaredError()
    )
    found = state_gradients(objective, BATCH)
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "000.twice": (5, 6, 3),
        "000.twice (call 2)": (5, 6, 3),
    }


def test_a_masked_step_has_no_gradient():
    objective = model_of(LAYERS.Masking(), LAYERS.GRU(3))
    x = BATCH.x.numpy()
    x[:2, 2] = 0
    [found] = state_gradients(
        objective, Batch(tf.constant(x), BATCH.y)
    ).values()
    norms = np.linalg.norm(found, axis=2)
    assert (
        (norms[:2, 2] == 0).all()
        and (norms[2:, 2] > 0).all()
        and (norms[:, 1] > 0).all()
    )


def test_a_model_without_recurrent_layers_has_none():
    assert state_gradients(model_of(LAYERS.Flatten()), BATCH) == {}
