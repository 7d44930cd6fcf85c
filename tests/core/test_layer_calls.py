import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tftrain.core.layer_calls import record_activations, recording_enabled


def seen_in(model, x, run=None):
    """What is recorded of one training pass with its gradient: {layer: (function, values)}, and the model's outputs."""
    model(x)
    functions = {}
    run = run or (lambda model, x: model(x, training=True))

    @tf.function
    def step(x):
        with record_activations() as seen, tf.GradientTape() as tape:
            outputs = run(model, x)
            loss = tf.add_n(
                [tf.reduce_sum(one) for one in tf.nest.flatten(outputs)]
            )
        tape.gradient(loss, model.trainable_variables)
        functions.update(
            {name: activation.function for name, activation in seen.items()}
        )
        return outputs, {
            name: activation.values for name, activation in seen.items()
        }

    with recording_enabled(model):
        step.get_concrete_function(x)
    assert not [
        layer for layer in model._flatten_layers() if "call" in vars(layer)
    ]
    outputs, values = step(x)
    return {
        name: (functions[name], value.numpy()) for name, value in values.items()
    }, outputs


def functions_of(model, x, run=None):
    return {
        name: function
        for name, (function, _) in seen_in(model, x, run)[0].items()
    }


X = tf.constant(np.random.default_rng(0).normal(size=(6, 4)), tf.float32)


def test_values_are_those_of_the_pass_against_numpy():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, "relu", name="one"),
            layers.Dense(3, name="two"),
            layers.Activation("tanh"),
        ]
    )
    seen, outputs = seen_in(model, X)
    kernel, bias, *_ = model.get_weights()
    assert {name: function for name, (function, _) in seen.items()} == {
        "000.one": "relu",
        f"001.{model.layers[-1].name}": "tanh",
    }
    # float32 products of four numbers
    np.testing.assert_allclose(
        seen["000.one"][1],
        np.maximum(X.numpy() @ kernel + bias, 0),
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_array_equal(list(seen.values())[1][1], outputs)


def test_before_dropout_and_once_though_containers_pass_it_on():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.Sequential(
                [layers.Dense(50, "relu", name="hidden"), layers.Dropout(0)],
                name="inner",
            ),
        ]
    )
    model.add(layers.Dropout(0.5))
    seen, outputs = seen_in(model, X)
    ((name, (_, values)),) = seen.items()
    assert name == "000.inner.hidden"
    kept = outputs.numpy() != 0
    np.testing.assert_array_equal(outputs.numpy()[kept], 2 * values[kept])
    assert np.count_nonzero(values) > np.count_nonzero(kept)


class Block(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.dense, self.norm = (
            layers.Dense(units, name="dense"),
            layers.BatchNormalization(name="norm"),
        )

    def call(self, x):
        return keras.ops.relu(x + self.norm(self.dense(x)))


class Custom(keras.Model):
    """Functions called on tensors, layers used twice, and twins."""

    def __init__(self):
        super().__init__(name="custom")
        self.relu = layers.ReLU(name="relu")
        self.first, self.second, self.third = (
            layers.Dense(4, name=name) for name in ("first", "second", "third")
        )
        self.blocks = [Block(4, name="block"), Block(4, name="block")]
        self.tail = layers.Dense(2, name="tail")

    def call(self, inputs, training=False):
        x = self.relu(self.first(inputs))
        x = self.relu(self.second(x))
        for block in self.blocks:
            x = block(x)
        x = tf.nn.tanh(self.third(x))
        x = keras.ops.silu(self.first(x))
        return self.tail(x)


def test_a_subclassed_model():
    assert functions_of(Custom(), X) == {
        "000.relu": "relu",
        "001.relu": "relu",
        "002.third": "tanh",
        "004.block": "relu",
        "006.block": "relu",
    }


def test_of_a_shared_layer_the_last_call_stays():
    shared = layers.Dense(4, "sigmoid", name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, shared(shared(inputs)))
    seen, outputs = seen_in(model, X)
    assert list(seen) == ["000.shared"]
    np.testing.assert_array_equal(seen["000.shared"][1], outputs)


def test_layers_called_by_keyword():
    class Named(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, "relu", name="dense")
            self.gate = layers.Activation("sigmoid", name="gate")

        def call(self, inputs, training=False):
            return self.gate(inputs=self.dense(inputs=inputs))

    assert functions_of(Named(), X) == {
        "000.dense": "relu",
        "000.gate": "sigmoid",
    }


def test_functions_in_a_functional_model():
    inputs = keras.Input((4,))
    x = keras.ops.relu(
        layers.BatchNormalization(name="norm")(
            layers.Dense(4, name="one")(inputs)
        )
    )
    x = layers.Dense(4, keras.activations.gelu, name="two")(x)
    x = layers.Dense(4, "hard_sigmoid", name="three")(x)
    x = layers.PReLU(name="four")(x)
    model = keras.Model(inputs, layers.Dense(2, "softmax", name="five")(x))
    assert functions_of(model, X) == {
        "001.norm": "relu",
        "002.two": "gelu",
        "003.three": "hard_sigmoid",
        "004.four": "prelu",
    }


def test_recurrent_layers_are_seen_from_outside():
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.LSTM(4, return_sequences=True, name="memory"),
        ]
    )
    model.add(layers.TimeDistributed(layers.Dense(2, "relu")))
    model.add(layers.SimpleRNN(3, unroll=True, name="last"))
    seen, outputs = seen_in(
        model, tf.random.stateless_normal([6, 5, 3], [1, 2])
    )
    assert seen["000.memory"][1].shape == (6, 5, 4)
    np.testing.assert_array_equal(seen["002.last"][1], outputs)


def in_a_loop(model, x):
    return tf.while_loop(
        lambda i, _: i < 2,
        lambda i, y: (i + 1, model(x, training=True)),
        (0, tf.zeros([6, 3])),
    )[1]


def first_outside_of_a_loop(model, x):
    first = model(x, training=True)
    return first + in_a_loop(model, 2 * x)


def test_what_is_in_a_loop_cannot_be_seen():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, "relu", name="dense")]
    )
    assert functions_of(model, X, in_a_loop) == {}
    seen, _ = seen_in(model, X, first_outside_of_a_loop)
    np.testing.assert_allclose(seen["000.dense"][1], model(X), rtol=1e-6)
    model.call = tf.function(model.call)
    model(X)
    with recording_enabled(model), record_activations() as seen:
        assert model(X).shape == (6, 3) and seen == {}
    assert isinstance(
        model.call, type(tf.function(lambda: 0))
    )  # the user's own call is put back


def test_frozen_layers_have_a_place_too():
    frozen = layers.Dense(4, "relu", name="frozen", trainable=False)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, "relu", name="one"),
            frozen,
            layers.Dense(2, "relu", name="two"),
        ]
    )
    assert list(functions_of(model, X)) == ["000.one", "001.frozen", "002.two"]


def test_layers_are_as_before_after_an_error():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ZeroDivisionError), recording_enabled(model):
        raise ZeroDivisionError
    assert not [
        layer for layer in model._flatten_layers() if "call" in vars(layer)
    ]
