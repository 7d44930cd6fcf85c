"""Activations that are computed again: the gradient is the same, and all that changes does so once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.determinism import NotRepeatable
from tftrain.core.layer_calls import record_activations, recording_enabled
from tftrain.core.objective import KerasObjective
from tftrain.core.remat import RematSpec, rematerialized
from tftrain.core.remat_segments import find_segments
from tftrain.core.types import Batch
from tftrain.optim.gradients.accumulation import accumulated
from tftrain.optim.gradients.backprop import backprop

layers = keras.layers


@keras.saving.register_keras_serializable()
class Attending(layers.Layer):
    """Two residual connections, layers within layers, keyword arguments, several outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4, dropout=0.3)
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
        self.dense = keras.Sequential(
            [layers.Dense(16, "gelu"), layers.Dropout(0.3), layers.Dense(8)]
        )

    def call(self, x, scale=None):
        y = self.norms[0](x)
        x = x + self.attention(query=y, value=y)
        return {
            "x": x + scale * self.dense(self.norms[1](x)),
            "places": tf.range(3),
            "scale": scale,
        }


def dense():
    x = inputs = keras.Input((8,))
    for index in range(6):
        y = layers.Dropout(0.4)(
            layers.Dense(
                8, "tanh", kernel_regularizer="l2", activity_regularizer="l2"
            )(x)
        )
        x = layers.Add()([x, y]) if index % 2 else y
    return keras.Model(inputs, layers.Dense(3)(x))


def convolutions():
    stack = [keras.Input((8,)), layers.Reshape((4, 2, 1))]
    for _ in range(3):
        stack += [
            layers.Conv2D(4, 2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
        ]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(3)])


def recurrent():
    kinds = {"return_sequences": True, "dropout": 0.3, "recurrent_dropout": 0.3}
    stack = [
        keras.Input((8,)),
        layers.Lambda(
            lambda x: tf.cast(3 + x, tf.int64), output_shape=(8,), dtype="int64"
        ),
    ]
    stack += [
        layers.Embedding(9, 4, mask_zero=True),
        layers.GRU(5, **kinds),
        layers.SimpleRNN(5, **kinds),
    ]
    stack += [layers.Bidirectional(layers.LSTM(3))]
    return keras.Sequential([*stack, layers.Dense(3)])


def attending():
    x, scale = inputs = [keras.Input((8,)), keras.Input((1,))]
    x = layers.Reshape((2, 4))(x)
    x = layers.Dense(8)(x)
    for _ in range(3):
        found = Attending()(x, scale=layers.Reshape((1, 1))(scale))
        x = layers.Dropout(0.2)(found["x"])
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def shared():
    x = inputs = keras.Input((8,))
    inner = keras.Sequential(
        [
            layers.Dense(8, "tanh"),
            layers.Dropout(0.3),
            layers.BatchNormalization(),
        ]
    )
    for _ in range(5):
        x = inner(x)
    return keras.Model(inputs, layers.Dense(3)(x))


MODELS = [dense, convolutions, recurrent, attending, shared]


def by_segments(model):
    found = find_segments(model)
    assert sum(segment.again for segment in found.all) >= 1
    return RematSpec(segments=[found])


def by_layer(model):
    return RematSpec([layer for layer in model.layers if layer.weights])


def batch(model):
    random = np.random.default_rng(0)
    x = [
        tf.constant(random.normal(size=(6, *one.shape[1:])), tf.float32)
        for one in model.inputs
    ]
    return Batch(
        x if len(x) > 1 else x[0],
        tf.constant(random.normal(size=(6, 3)), tf.float32),
    )


def trained(
    make, choose=lambda model: RematSpec(), method=backprop, jit_compile=False
):
    """Loss and gradients of two steps, each as arrays, and all variables behind them."""
    keras.utils.set_random_seed(1)
    model = make()
    objective, given = (
        KerasObjective(model, keras.losses.MeanSquaredError()),
        batch(model),
    )

    def step():
        found = method()(objective, given, ())
        return [
            found.loss,
            *map(tf.convert_to_tensor, found.grads),
        ], found.grads

    call = tf.function(
        lambda: step()[0], autograph=False, jit_compile=jit_compile
    )
    with rematerialized(choose(model)):
        call.get_concrete_function()
    assert not [
        layer for layer in model._flatten_layers() if "call" in vars(layer)
    ]
    numbers = [[one.numpy() for one in call()] for _ in range(2)]
    return numbers, [np.asarray(one) for one in model.variables]


def assert_same(found, expected, **tolerance):
    for mine, theirs in zip(
        found[0][0] + found[0][1] + found[1],
        sum(expected[0], []) + expected[1],
        strict=True,
    ):
        np.testing.assert_allclose(
            mine, theirs, **tolerance or {"rtol": 1e-5, "atol": 1e-6}
        )


@pytest.mark.parametrize("make", MODELS)
def test_the_gradient_is_the_same_and_seeds_and_averages_move_once(make):
    expected = trained(make)
    assert np.any(
        expected[0][0][0] != expected[0][1][0]
    )  # the second step has drawn other numbers
    for choose in (by_segments, by_layer):
        assert_same(trained(make, choose), expected)


def test_within_micro_batches_in_a_loop():
    def pieces():
        return accumulated(backprop(), 3)

    assert_same(
        trained(dense, by_segments, pieces), trained(dense, method=pieces)
    )


def test_compiled_by_xla():
    # XLA fuses what is computed again with other neighbors.
    found, expected = (
        trained(convolutions, by_segments, jit_compile=True),
        trained(convolutions, jit_compile=True),
    )
    assert_same(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_in_half_precision(precision):
    keras.config.set_dtype_policy(precision)
    try:
        expected = trained(dense)
        for choose in (by_segments, by_layer):
            # A penalty's gradient and that of the loss are added up after rounding, not before.
            assert_same(
                trained(dense, choose), expected, rtol=2.0**-5, atol=2.0**-8
            )
    finally:
        keras.config.set_dtype_policy("float32")


def test_eagerly():
    keras.utils.set_random_seed(1)
    model = dense()
    objective, given = (
        KerasObjective(model, keras.losses.MeanSquaredError()),
        batch(model),
    )
    with rematerialized(by_segments(model)):
        found = backprop()(objective, given, ())
    for mine, theirs in zip(found.grads, trained(dense)[0][0][1:], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_sparse_gradient_stays_sparse():
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(9, 4),
            layers.Flatten(),
        ]
    )
    model.add(layers.Dense(1))
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    given = Batch(tf.constant([[1, 2, 1], [1, 3, 3]]), tf.ones([2, 1]))
    with rematerialized(RematSpec([model.layers[0]])):
        found, expected = (
            backprop()(objective, given, ()).grads,
            backprop()(objective, given, ()).grads,
        )
    assert isinstance(found[0], tf.IndexedSlices)
    np.testing.assert_array_equal(found[0].indices, expected[0].indices)
    np.testing.assert_allclose(found[0].values, expected[0].values, rtol=1e-6)


def test_activations_are_seen_as_they_are_without():
    def seen(choose):
        keras.utils.set_random_seed(1)
        model = dense()
        called = keras.Model(
            model.inputs, keras.ops.relu(model.outputs[0])
        )  # a function behind the last layer

        @tf.function(autograph=False)
        def call(x):
            with record_activations() as found, tf.GradientTape() as tape:
                loss = tf.reduce_sum(called(x, training=True))
            tape.gradient(
                loss, [one.value for one in called.trainable_variables]
            )
            return {name: one.values for name, one in found.items()}

        with recording_enabled(called), rematerialized(choose(called)):
            return call(batch(called).x)

    expected = seen(lambda model: RematSpec())
    assert len(expected) == 7
    for choose in (by_segments, by_layer):
        found = seen(choose)
        for mine, theirs in zip(found.values(), expected.values(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


class Drawing(layers.Layer):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def call(self, x):
        return x * self.draw(tf.shape(x))


GENERATOR = tf.random.Generator.from_seed(1)


@pytest.mark.parametrize(
    "draw, message",
    [
        (
            tf.random.uniform,
            r"\(RandomUniform\) draws other random numbers a second time; expected such as",
        ),
        (
            lambda shape: GENERATOR.normal(shape),
            r"\(RngReadAndSkip\) draws other random numbers",
        ),
        (
            lambda shape: tf.map_fn(
                lambda _: tf.random.normal([]), tf.zeros(shape[:1])
            )[:, None],
            "RandomStandardNormal",
        ),
        (
            lambda shape: keras.random.normal((6, 8)),
            "a variable is changed that is none of the layer's own",
        ),
    ],
)
def test_what_cannot_be_repeated_is_refused(draw, message):
    def make():
        return keras.Sequential(
            [keras.Input((8,)), layers.Dense(8), Drawing(draw), layers.Dense(3)]
        )

    with pytest.raises(NotRepeatable, match=message):
        trained(make, lambda model: RematSpec([model.layers[1]]))
