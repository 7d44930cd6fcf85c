"""What the parameters of a model are called, whatever of it is frozen."""

import keras
import tensorflow as tf
from keras import layers

from tftrain.core.variables import (
    Names,
    names_of,
    parameter_names,
    parameters,
    untracked_variables,
)


class Twins(keras.Model):
    """Two layers of one name, and a variable of the model's own."""

    def __init__(self):
        super().__init__(name="twins")
        self.scale = self.add_weight(name="scale", shape=())
        self.parts = [
            keras.layers.Dense(1, name="part"),
            keras.layers.Dense(1, name="part"),
        ]

    def call(self, x):
        return self.parts[1](self.parts[0](x)) * self.scale


def test_names_of_twins():
    model = Twins()
    model(tf.ones([1, 2]))
    expected = "000.twins/scale 001.part/kernel 001.part/bias 002.part/kernel 002.part/bias"
    assert parameter_names(model) == expected.split()


def test_names_of_nested_layers():
    inner = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.Dense(2, name="first")], name="inner"
    )
    model = keras.Sequential(
        [keras.Input((5, 3)), inner, keras.layers.LSTM(2, name="memory")],
        name="outer",
    )
    assert parameter_names(model) == [
        "000.inner.first/kernel",
        "000.inner.first/bias",
        "001.memory.lstm_cell/kernel",
        "001.memory.lstm_cell/recurrent_kernel",
        "001.memory.lstm_cell/bias",
    ]


class UnlikeTwins(keras.Model):
    """Two layers of one name with different variables, and a layer whose variables have one name."""

    def __init__(self):
        super().__init__(name="unlike")
        self.parts = [
            keras.layers.Dense(1, name="part", use_bias=False),
            keras.layers.Dense(1, name="part"),
        ]
        self.last = keras.layers.Layer(name="last")
        self.last.first, self.last.second = (
            keras.Variable(1.0, name="scale") for _ in range(2)
        )

    def call(self, x):
        return (
            self.parts[1](self.parts[0](x)) * self.last.first * self.last.second
        )


def test_names_go_by_the_layer_that_owns():
    model = UnlikeTwins()
    model(tf.ones([1, 2]))
    expected = "000.part/kernel 001.part/kernel 001.part/bias 002.last/scale 002.last/scale_2"
    assert parameter_names(model) == expected.split()


def part_frozen(*frozen):
    """Layers with and without weights, and weights that are never trained, of which some layers are frozen."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Normalization(mean=0.0, variance=1.0),
            layers.Dense(3, name="first"),
            layers.Dropout(0.5),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="last", trainable="last" not in frozen),
        ]
    )
    for name in frozen:
        model.get_layer(name).trainable = False
    return model


def test_freezing_changes_no_name():
    first, norm = (
        ["000.first/kernel", "000.first/bias"],
        ["001.norm/gamma", "001.norm/beta"],
    )
    last = ["002.last/kernel", "002.last/bias"]
    assert names_of(part_frozen()) == Names([*first, *norm, *last], [])
    assert names_of(part_frozen("first")) == Names([*norm, *last], first)
    assert names_of(part_frozen("norm", "last")) == Names(first, [*norm, *last])
    one = part_frozen()
    one.get_layer("first").kernel.trainable = False
    assert names_of(one) == Names(
        ["000.first/bias", *norm, *last], ["000.first/kernel"]
    )


def test_freezing_tells_twins_apart_too():
    model = Twins()
    model(tf.ones([1, 2]))
    model.parts[0].trainable = False
    assert parameter_names(model) == [
        "000.twins/scale",
        "002.part/kernel",
        "002.part/bias",
    ]


def test_parameters_are_those_made_to_be_trained():
    found = [one.name for one in parameters(part_frozen("norm"))]
    assert found == ["kernel", "bias", "gamma", "beta", "kernel", "bias"]


class Keeping(keras.layers.Layer):
    """Holds variables in every way that Keras does not see, and in those that it does."""

    def __init__(self):
        super().__init__()
        self.plain, self.listed = (
            tf.Variable(0.0),
            [tf.Variable(1.0), {"deep": tf.Variable(2.0)}],
        )
        self.drawing, self.module = (
            tf.random.Generator.from_seed(1),
            tf.Module(),
        )
        self.module.inner = tf.Variable(3.0)
        self.seed, self.twice = keras.random.SeedGenerator(1), self.plain

    def build(self, shape):
        self.known = self.add_weight(shape=(), trainable=False)

    def call(self, x):
        return x


def test_variables_that_keras_does_not_see():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.BatchNormalization(),
            Keeping(),
            keras.layers.Dropout(0.5),
        ]
    )
    found = untracked_variables(model)
    assert {name.partition(".")[2] for name in found} == {
        "plain",
        "listed",
        "drawing",
        "module",
    }
