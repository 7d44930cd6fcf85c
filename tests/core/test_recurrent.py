import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.recurrent import continued, cut, first_carry, recurrent_layers

LAYERS = {"simple": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def network(cell="gru", every_step=True, masked=False):
    """Two recurrent layers and a dense one, in float64, for sequences [batch, time, 2] of any length."""
    keras.utils.set_random_seed(0)
    make = LAYERS[cell]
    inputs = keras.Input((None, 2), dtype="float64")
    x = keras.layers.Masking(dtype="float64")(inputs) if masked else inputs
    x = make(4, return_sequences=True, dtype="float64")(x)
    x = make(3, return_sequences=every_step, dtype="float64")(x)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(x))


def sequences(batch=3, time=11):
    random = np.random.default_rng(0)
    return tf.constant(random.normal(size=(batch, time, 2))), tf.constant(random.normal(size=(batch, time, 1)))


def gradient(model, loss):
    params = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        found = loss()
    return found, tape.gradient(found, params)


def cut_gradient(model, x, window, error):
    def loss():
        with cut(recurrent_layers(model), window):
            return error(model(x, training=True))

    return tf.function(lambda: gradient(model, loss), autograph=False)()


def by_windows(model, x, bounds, error):
    """The reference: the model called on one window after the other, its states cut between them."""
    layers = recurrent_layers(model)

    def loss():
        states, outputs = first_carry(layers, len(x)).states, []
        for number, (start, stop) in enumerate(bounds):
            starts = tf.fill([len(x)], number == 0)
            with continued(layers, tf.nest.map_structure(tf.stop_gradient, states), starts) as states:
                outputs.append(model(x[:, start:stop], training=True))
        return error(outputs)

    return tf.function(lambda: gradient(model, loss), autograph=False)()


def assert_equal(found, expected, rtol=1e-12):
    """Float64 sums in another order."""
    for mine, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-15)


@pytest.mark.parametrize("cell, masked", [("simple", False), ("gru", False), ("lstm", True)])
def test_a_cut_is_a_call_for_each_window(cell, masked):
    (x, y), model = sequences(), network(cell, masked=masked)
    if masked:
        x = x * tf.cast(np.arange(11) < [[11], [5], [8]], tf.float64)[:, :, tf.newaxis]
    found = cut_gradient(model, x, 4, lambda outputs: tf.reduce_mean((outputs - y) ** 2))
    bounds = [(0, 4), (4, 8), (8, 11)]
    expected = by_windows(model, x, bounds, lambda outputs: tf.reduce_mean((tf.concat(outputs, 1) - y) ** 2))
    assert_equal(found, expected)


def test_the_last_step_alone_looks_back_a_whole_window():
    (x, y), model = sequences(), network("lstm", every_step=False)
    found = cut_gradient(model, x, 4, lambda outputs: tf.reduce_mean((outputs - y[:, 0]) ** 2))
    bounds = [(0, 3), (3, 7), (7, 11)]
    assert_equal(found, by_windows(model, x, bounds, lambda outputs: tf.reduce_mean((outputs[-1] - y[:, 0]) ** 2)))


def test_a_window_of_the_whole_sequence_cuts_nothing():
    (x, y), model = sequences(time=5), network("simple")

    def error(outputs):
        return tf.reduce_mean((outputs - y) ** 2)

    expected = tf.function(lambda: gradient(model, lambda: error(model(x, training=True))), autograph=False)()
    for window in (5, 50):
        assert_equal(cut_gradient(model, x, window, error), expected, rtol=0)
    shorter = cut_gradient(model, x, 2, error)
    np.testing.assert_allclose(shorter[0], expected[0], rtol=1e-14)  # the values are those of the whole sequence
    assert not np.allclose(shorter[1][1], expected[1][1], rtol=1e-2)


def test_states_go_on_but_in_rows_that_start():
    (x, _), model = sequences(time=6), network("gru")
    layers = recurrent_layers(model)
    whole = model(x)
    with continued(layers, first_carry(layers, 3).states, tf.fill([3], True)) as states:
        first = model(x[:, :4])
    starts = tf.constant([False, True, False])
    poisoned = tf.nest.map_structure(lambda state: tf.where(starts[:, tf.newaxis], np.nan, state), states)
    with continued(layers, poisoned, starts):
        second = model(x[:, 4:])
    np.testing.assert_allclose(first, whole[:, :4], rtol=1e-12)
    np.testing.assert_allclose(second[::2], whole[::2, 4:], rtol=1e-12)
    np.testing.assert_allclose(second[1], model(x[1:2, 4:])[0], rtol=1e-12)


def test_layers_that_cannot_be_cut():
    inputs, layers = keras.Input((5, 2)), keras.layers
    for layer, said in [
        (layers.Flatten(), "no recurrent layer"),
        (layers.Bidirectional(layers.GRU(2), name="both"), r"both \(Bidirectional\) goes backwards"),
        (layers.GRU(2, go_backwards=True, name="back"), r"back \(GRU\) goes backwards"),
    ]:
        with pytest.raises(ValueError, match=said):
            recurrent_layers(keras.Model(inputs, layer(inputs)))
    shared = layers.GRU(2, return_sequences=True, name="shared")
    twice = keras.Model(inputs, shared(shared(inputs)))
    found = recurrent_layers(twice)
    with (
        pytest.raises(ValueError, match="shared is called more than once"),
        continued(found, first_carry(found, 1).states, tf.constant([True])),
    ):
        twice(tf.zeros([1, 5, 2]))
