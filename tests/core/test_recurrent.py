import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.recurrent import (
    first_carry,
    recurrent_layers,
    stateful_calls,
    truncated_calls,
)

LAYERS = {
    "simple": keras.layers.SimpleRNN,
    "gru": keras.layers.GRU,
    "lstm": keras.layers.LSTM,
}


def network(cell="gru", every_step=True):
    """Two recurrent layers and a dense one, in float64, for sequences [batch, time, 2] of any length."""
    keras.utils.set_random_seed(0)
    make = LAYERS[cell]
    inputs = keras.Input((None, 2), dtype="float64")
    x = make(4, return_sequences=True, dtype="float64")(inputs)
    x = make(3, return_sequences=every_step, dtype="float64")(x)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(x))


def sequences(batch=3, time=11):
    random = np.random.default_rng(0)
    return tf.constant(random.normal(size=(batch, time, 2))), tf.constant(
        random.normal(size=(batch, time, 1))
    )


def gradient(model, loss):
    params = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        found = loss()
    return found, tape.gradient(found, params)


def cut_gradient(model, x, window, error):
    def loss():
        with truncated_calls(recurrent_layers(model), window):
            return error(model(x, training=True))

    return tf.function(lambda: gradient(model, loss), autograph=False)()


def assert_equal(found, expected, rtol=1e-12):
    """Float64 sums in another order."""
    for mine, theirs in zip(
        tf.nest.flatten(found), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-15)


# By the example: trailing and leading padding, longer than a window and shorter; gaps; masked as a whole, and nowhere.
SEEN = ["11100000000", "11111111100", "00000001111", "00111111111"]
SEEN += ["11000001100", "01011000010", "00000000000", "11111111111"]
SEEN = np.array([[step == "1" for step in row] for row in SEEN])


def stack(make, every_step=True, states=False, **how):
    """Masking and two recurrent layers in float64, for 11 time steps; the outputs, perhaps the states, of the last."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((11, 2), dtype="float64")
    x = keras.layers.Masking(dtype="float64")(inputs)
    x = make(
        4,
        return_sequences=True,
        dtype="float64",
        bias_initializer="normal",
        **how,
    )(x)
    last = make(
        3,
        return_sequences=every_step,
        return_state=states,
        dtype="float64",
        bias_initializer="normal",
        **how,
    )
    return keras.Model(inputs, last(x))


def padded():
    return tf.where(
        SEEN[:, :, np.newaxis],
        np.random.default_rng(0).normal(size=(*SEEN.shape, 2)),
        0,
    )


def looped(layer, x, mask, borders):
    """The reference: a layer's outputs [batch, time, units] and last states, step by step, cut before each border."""
    states, output, outputs = (
        layer.get_initial_state(len(x)),
        tf.zeros([len(x), layer.units], tf.float64),
        [],
    )
    for step in range(x.shape[1]):
        if step in borders:
            on = mask[:, step:].any(1)[
                :, np.newaxis
            ]  # behind the last step that counts there is nothing to cut
            stopped = tf.nest.map_structure(
                lambda one, on=on: tf.where(on, tf.stop_gradient(one), one),
                [output, *states],
            )
            output, *states = stopped
        seen = mask[:, step, np.newaxis]
        found, after = layer.cell(x[:, step], states)
        output = tf.where(
            seen,
            found,
            tf.zeros_like(output) if layer.zero_output_for_mask else output,
        )
        states = [
            tf.where(seen, new, old)
            for new, old in zip(tf.nest.flatten(after), states, strict=True)
        ]
        outputs.append(output)
    return tf.stack(outputs, 1), states


def stepwise(model, x, mask, borders):
    for layer in recurrent_layers(model):
        x, states = looped(layer, x, mask, borders)
    outputs = x if layer.return_sequences else x[:, -1]
    return [outputs, *states] if layer.return_state else outputs


def counted(outputs):
    """A loss by which every number counts, masked or not."""
    random = np.random.default_rng(1)
    return tf.add_n(
        [
            tf.reduce_sum(random.normal(size=leaf.shape) * leaf**2)
            for leaf in tf.nest.flatten(outputs)
        ]
    )


SIMPLE, GRU, LSTM = LAYERS.values()


@pytest.mark.parametrize(
    "make, how, window, borders",
    [
        (SIMPLE, {}, 4, (4, 8)),
        (SIMPLE, {"every_step": False}, 2, (1, 3, 5, 7, 9)),
        (GRU, {"reset_after": True, "every_step": False}, 4, (3, 7)),
        (GRU, {"reset_after": False, "states": True}, 3, (3, 6, 9)),
        (LSTM, {"every_step": False, "states": True}, 3, (2, 5, 8)),
        (LSTM, {}, 1, range(1, 11)),
        (LSTM, {"zero_output_for_mask": True}, 4, (4, 8)),
        (GRU, {"zero_output_for_mask": True, "every_step": False}, 6, (5,)),
        (SIMPLE, {"unroll": True}, 5, (5, 10)),
        (LSTM, {"unroll": True, "every_step": False}, 5, (1, 6)),
        (SIMPLE, {"unroll": True, "zero_output_for_mask": True}, 5, (5, 10)),
    ],
)
def test_masked_sequences_keep_their_values_and_the_gradient_is_cut(
    make, how, window, borders
):
    model, x = stack(make, **how), padded()
    with truncated_calls(recurrent_layers(model), window):
        found, outputs = (
            gradient(model, lambda: counted(model(x, training=True))),
            model(x, training=True),
        )
    assert_equal(
        found,
        gradient(model, lambda: counted(stepwise(model, x, SEEN, borders))),
    )
    for mine, theirs in zip(
        tf.nest.flatten(outputs),
        tf.nest.flatten(model(x, training=True)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "make, every_step, borders",
    [(LSTM, False, (2, 5, 8)), (GRU, True, (3, 6, 9))],
)
def test_a_graph_of_masked_windows(make, every_step, borders):
    model, x = stack(make, every_step, states=True), padded()
    expected = gradient(
        model, lambda: counted(stepwise(model, x, SEEN, borders))
    )
    assert_equal(cut_gradient(model, x, 3, counted), expected)


@pytest.mark.parametrize(
    "make, every_step, window", [(LSTM, False, 11), (GRU, True, 50)]
)
def test_a_window_of_the_whole_masked_sequence_cuts_nothing(
    make, every_step, window
):
    model, x = stack(make, every_step), padded()
    whole = gradient(model, lambda: counted(model(x, training=True)))
    with truncated_calls(recurrent_layers(model), window):
        assert_equal(
            gradient(model, lambda: counted(model(x, training=True))),
            whole,
            rtol=0,
        )


def test_no_window_that_is_masked_goes_to_cudnn(monkeypatch):
    """It takes none that is masked as a whole, and gives zeros at masked steps."""
    called = []

    def cudnn(*args, **kwargs):
        called.append(args)
        raise NotImplementedError

    monkeypatch.setattr(keras.src.backend, "lstm", cudnn)
    model, plain = stack(LSTM), network("lstm")
    with truncated_calls(recurrent_layers(model), 4):
        model(padded())
    assert not called
    with truncated_calls(recurrent_layers(plain), 4):
        plain(padded())
    assert called
    assert all(layer.use_cudnn == "auto" for layer in recurrent_layers(model))


@pytest.mark.parametrize(
    "cell, every_step, borders",
    [("lstm", True, (4, 8)), ("gru", False, (3, 7))],
)
def test_a_cut_without_masks(cell, every_step, borders):
    """The last step alone looks back a whole window."""
    (x, _), model = sequences(), network(cell, every_step)
    found, nowhere = cut_gradient(model, x, 4, counted), np.ones([3, 11], bool)
    dense = model.layers[-1]
    assert_equal(
        found,
        gradient(
            model, lambda: counted(dense(stepwise(model, x, nowhere, borders)))
        ),
    )


def test_a_window_of_the_whole_sequence_cuts_nothing():
    (x, y), model = sequences(time=5), network("simple")

    def error(outputs):
        return tf.reduce_mean((outputs - y) ** 2)

    expected = tf.function(
        lambda: gradient(model, lambda: error(model(x, training=True))),
        autograph=False,
    )()
    for window in (5, 50):
        assert_equal(cut_gradient(model, x, window, error), expected, rtol=0)
    shorter = cut_gradient(model, x, 2, error)
    np.testing.assert_allclose(
        shorter[0], expected[0], rtol=1e-14
    )  # the values are those of the whole sequence
    assert not np.allclose(shorter[1][1], expected[1][1], rtol=1e-2)


def test_states_go_on_but_in_rows_that_start():
    (x, _), model = sequences(time=6), network("gru")
    layers = recurrent_layers(model)
    whole = model(x)
    with stateful_calls(
        layers, first_carry(layers, 3).states, tf.fill([3], True)
    ) as states:
        first = model(x[:, :4])
    starts = tf.constant([False, True, False])
    poisoned = tf.nest.map_structure(
        lambda state: tf.where(starts[:, tf.newaxis], np.nan, state), states
    )
    with stateful_calls(layers, poisoned, starts):
        second = model(x[:, 4:])
    np.testing.assert_allclose(first, whole[:, :4], rtol=1e-12)
    np.testing.assert_allclose(second[::2], whole[::2, 4:], rtol=1e-12)
    np.testing.assert_allclose(second[1], model(x[1:2, 4:])[0], rtol=1e-12)


def of_two_cells(x):
    """A layer whose output is no state of its first cell."""
    cells = [
        keras.layers.LSTMCell(3, dtype="float64"),
        keras.layers.GRUCell(2, dtype="float64"),
    ]
    cell = keras.layers.StackedRNNCells(cells, dtype="float64")
    return keras.layers.RNN(cell, return_sequences=True, dtype="float64")(x)


def with_first_states(x):
    """Keras hands no mask on to a layer that is given two tensors."""
    first, mask = (
        keras.layers.Dense(3, bias_initializer="ones", dtype="float64")(
            x[:, 0]
        ),
        keras.ops.any(x != 0, -1),
    )
    return keras.layers.GRU(3, return_sequences=True, dtype="float64")(
        x, initial_state=first, mask=mask
    )


def with_zeros(x):
    return keras.layers.GRU(
        3, return_sequences=True, zero_output_for_mask=True, dtype="float64"
    )(x)


def two(x):
    for _ in range(2):
        x = keras.layers.LSTM(3, return_sequences=True, dtype="float64")(x)
    return x


@pytest.mark.parametrize(
    "layers", [of_two_cells, with_first_states, with_zeros, two]
)
def test_a_window_that_begins_masked_is_as_in_the_whole_sequence(layers):
    """Windows of 4, 4 and 3 steps, with rows that are new: their states before are not numbers."""
    keras.utils.set_random_seed(0)
    inputs, x = keras.Input((None, 2), dtype="float64"), padded()
    model = keras.Model(
        inputs, layers(keras.layers.Masking(dtype="float64")(inputs))
    )
    found, outputs = recurrent_layers(model), []
    states, starts = (
        tf.nest.map_structure(
            lambda leaf: leaf * np.nan, first_carry(found, len(x)).states
        ),
        True,
    )
    for window in (slice(4), slice(4, 8), slice(8, 11)):
        with stateful_calls(found, states, tf.fill([len(x)], starts)) as states:
            outputs.append(model(x[:, window]))
        starts = False
    np.testing.assert_array_equal(tf.concat(outputs, 1), model(x))


def test_layers_that_cannot_be_cut():
    inputs, layers = keras.Input((5, 2)), keras.layers
    for layer, said in [
        (layers.Flatten(), "no recurrent layer"),
        (
            layers.Bidirectional(layers.GRU(2), name="both"),
            r"both \(Bidirectional\) goes backwards",
        ),
        (
            layers.GRU(2, go_backwards=True, name="back"),
            r"back \(GRU\) goes backwards",
        ),
    ]:
        with pytest.raises(ValueError, match=said):
            recurrent_layers(keras.Model(inputs, layer(inputs)))
    shared = layers.GRU(2, return_sequences=True, name="shared")
    twice = keras.Model(inputs, shared(shared(inputs)))
    found = recurrent_layers(twice)
    with (
        pytest.raises(ValueError, match="shared is called more than once"),
        stateful_calls(
            found, first_carry(found, 1).states, tf.constant([True])
        ),
    ):
        twice(tf.zeros([1, 5, 2]))
