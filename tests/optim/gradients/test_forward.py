"""Forward mode through recurrent layers of every kind, beside back-propagation through Keras' own loop, in float64."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.diagnostics.temporal_gradients import gradients_through_time
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.gradients.forward_mode import forward

pytestmark = pytest.mark.usefixtures("float64")
LAYERS = keras.layers
EXAMPLES, STEPS = 3, 4
MASKS = {
    "none": None,
    "leading": [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]],
    "trailing": [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]],
    "inner": [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1]],
}
KINDS = {
    "simple": lambda **more: LAYERS.SimpleRNN(1, **more),
    "gru": lambda **more: LAYERS.GRU(1, **more),
    "lstm": lambda **more: LAYERS.LSTM(
        1, dropout=0.3, recurrent_dropout=0.3, seed=5, **more
    ),
    "stacked": lambda **more: LAYERS.RNN(
        [LAYERS.LSTMCell(1), LAYERS.GRUCell(1)], **more
    ),
}


def objective_of(layer, mask):
    """The model gives all that the layer gives, so that each number counts in the loss."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(EXAMPLES, STEPS, 2))
    masking = LAYERS.Masking()(inputs) if mask else inputs
    given = keras.tree.flatten(layer(masking))
    numbers = LAYERS.Concatenate()(
        [keras.ops.reshape(one, (EXAMPLES, -1)) for one in given]
    )
    model = keras.Model(inputs, LAYERS.Dense(1)(numbers))
    random = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    x = random.normal(size=(EXAMPLES, STEPS, 2)) * (
        np.array(mask)[..., np.newaxis] if mask else 1
    )
    batch = Batch(
        tf.constant(x), tf.constant(random.normal(size=(EXAMPLES, 1)))
    )
    return KerasObjective(model, keras.losses.MeanSquaredError()), batch


def unrolled_backprop():
    """Back-propagation through what forward mode goes through, which is traced sooner."""

    def evaluate(objective, batch, carry):
        with objective.unrolled():
            return backprop()(objective, batch, carry)

    return evaluate


def gradients(method, objective, batch, calls=1):
    """The loss and the gradient of the last of some calls, each of which starts from the states of the one before."""
    model = objective.model
    kept = [
        (variable, variable.numpy())
        for variable in model.non_trainable_variables
    ]
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN):
            layer.reset_state()
    for _ in range(calls):
        loss, grads, _, _ = method(
            objective, batch, ()
        )  # eagerly: to trace each case takes longer than to run it
    for variable, value in kept:
        variable.assign(value)
    return float(loss), np.concatenate(
        [np.ravel(tf.convert_to_tensor(grad)) for grad in grads]
    )


def assert_same_gradients(layer, mask, method=unrolled_backprop, calls=1):
    objective, batch = objective_of(layer, mask)
    loss, wanted = gradients(backprop(), objective, batch, calls)
    own_loss, found = gradients(method(), objective, batch, calls)
    assert own_loss == pytest.approx(loss, rel=1e-12)
    assert np.linalg.norm(wanted) > 1e-3
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=1e-10 * np.linalg.norm(wanted)
    )  # float64


@pytest.mark.parametrize("mask", ["leading", "inner"])
def test_forward_mode_through_a_bidirectional_layer_behind_a_mask(mask):
    layer = LAYERS.Bidirectional(LAYERS.SimpleRNN(1, return_sequences=True))
    assert_same_gradients(layer, MASKS[mask], forward)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_a_layer_that_gives_every_step(kind, mask):
    """Backwards with outputs of zero at masked steps, where Keras' unrolled loop goes wrong."""
    more = {
        "return_sequences": True,
        "go_backwards": True,
        "return_state": kind == "gru",
    }
    layer = KINDS[kind](**more)
    layer.zero_output_for_mask = True
    assert_same_gradients(layer, MASKS[mask])


@pytest.mark.parametrize("kind", ["gru", "stacked"])
def test_a_bidirectional_layer_behind_a_mask(kind):
    assert_same_gradients(
        LAYERS.Bidirectional(KINDS[kind](return_sequences=True)),
        MASKS["leading"],
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_every_combination(kind, mask):
    for sequences, backwards, zero in itertools.product(
        (False, True), repeat=3
    ):
        layer = KINDS[kind](
            return_sequences=sequences,
            go_backwards=backwards,
            return_state=True,
        )
        layer.zero_output_for_mask = zero
        assert_same_gradients(layer, MASKS[mask])
    for sequences, state in itertools.product((False, True), repeat=2):
        layer = LAYERS.Bidirectional(
            KINDS[kind](return_sequences=sequences, return_state=state),
            merge_mode="sum",
        )
        assert_same_gradients(layer, MASKS[mask])


def test_a_layer_that_keeps_its_state():
    assert_same_gradients(
        LAYERS.GRU(1, stateful=True, go_backwards=True), MASKS["inner"], calls=2
    )


def test_states_are_told_forward_in_time_behind_a_mask_too():
    """At a masked step a state is not used: its gradient is zero there, in both directions, and nowhere else."""
    layer = LAYERS.Bidirectional(LAYERS.SimpleRNN(1, return_sequences=True))
    objective, batch = objective_of(layer, MASKS["inner"])
    for found in gradients_through_time(objective, batch, {}).values():
        np.testing.assert_array_equal(
            found[..., 0].numpy() != 0, np.array(MASKS["inner"], bool)
        )


def test_sequences_of_no_fixed_length_are_refused_in_one_line():
    model = keras.Sequential(
        [keras.Input((None, 2)), LAYERS.GRU(1, name="reader"), LAYERS.Dense(1)]
    )
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    evaluate = tf.function(
        lambda x: forward()(
            objective, Batch(x, tf.ones((3, 1), tf.float64)), ()
        ),
        autograph=False,
    )
    with pytest.raises(
        ValueError,
        match="^reader gets sequences of a length that is not fixed, and cannot be unrolled$",
    ):
        evaluate.get_concrete_function(tf.TensorSpec([3, None, 2], tf.float64))
