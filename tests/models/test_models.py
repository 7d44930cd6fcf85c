"""The built-in models: shapes, initial weights, and what they refuse."""

import keras
import numpy as np
import pytest

from tftrain.models.cnn import cnn
from tftrain.models.mlp import mlp
from tftrain.models.rnn import rnn
from tftrain.models.sequential import sequential


def layer_names(model):
    return [layer.name for layer in model.layers if layer.weights]


def test_mlp():
    model = mlp([5, 4], "tanh", dropout=0.5, input_shape=(2, 3), outputs=7)
    assert model.output_shape == (None, 7) and layer_names(model) == [
        "hidden_1",
        "hidden_2",
        "output",
    ]
    assert model.count_params() == (6 * 5 + 5) + (5 * 4 + 4) + (4 * 7 + 7)
    x = np.random.default_rng(0).normal(size=(8, 2, 3)).astype("float32")
    weights = [np.asarray(weight) for weight in model.weights]
    found = (
        np.tanh(
            np.tanh(x.reshape(8, 6) @ weights[0] + weights[1]) @ weights[2]
            + weights[3]
        )
        @ weights[4]
        + weights[5]
    )
    np.testing.assert_allclose(
        model(x), found, rtol=1e-5, atol=1e-6
    )  # float32 sums in another order


def test_mlp_without_hidden_layers_is_linear():
    assert layer_names(mlp([], input_shape=(4,), outputs=1)) == ["output"]


def test_batch_norm_takes_the_place_of_the_bias():
    model = mlp([5], batch_norm=True, input_shape=(3,), outputs=2)
    assert layer_names(model) == ["hidden_1", "norm_1", "output"]
    assert len(model.get_layer("hidden_1").weights) == 1


def test_residual_adds_what_came_into_a_hidden_layer_where_the_widths_match():
    model = mlp([4, 4, 3], "tanh", residual=True, input_shape=(4,), outputs=2)
    assert layer_names(model) == ["hidden_1", "hidden_2", "hidden_3", "output"]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    kernels = [
        np.asarray(layer.kernel)
        for layer in model.layers
        if hasattr(layer, "kernel")
    ]
    one = np.tanh(x @ kernels[0])
    two = np.tanh(one @ kernels[1]) + one
    found = np.tanh(two @ kernels[2]) @ kernels[3]
    np.testing.assert_allclose(
        model(x), found, rtol=1e-5, atol=1e-6
    )  # float32 sums in another order
    with pytest.raises(
        ValueError,
        match=r"neighboring hidden layers of one width; given hidden: \[4, 3, 4\]",
    ):
        mlp([4, 3, 4], residual=True, input_shape=(4,), outputs=2)


def test_layers_of_one_size_do_not_begin_alike():
    for initializer in (
        "he_normal",
        keras.initializers.HeNormal(),
        keras.initializers.VarianceScaling(2.0),
    ):
        kernels = [
            layer.kernel
            for layer in mlp(
                [6, 6, 6],
                kernel_initializer=initializer,
                input_shape=(6,),
                outputs=6,
            ).layers
            if hasattr(layer, "kernel")
        ]
        for other in kernels[1:]:
            assert not np.allclose(kernels[0], other)


def test_a_seed_that_the_user_fixed_is_kept():
    first, second = (
        mlp(
            [6],
            kernel_initializer=keras.initializers.HeNormal(seed=3),
            input_shape=(6,),
            outputs=6,
        ).weights[0]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "padding, pool, flat",
    [("same", 2, 2 * 2 * 5), ("same", 0, 8 * 8 * 5), ("valid", 1, 4 * 4 * 5)],
)
def test_cnn(padding, pool, flat):
    model = cnn(
        [4, 5],
        padding=padding,
        pool=pool,
        hidden=[6],
        input_shape=(8, 8, 3),
        outputs=10,
    )
    assert model.output_shape == (None, 10)
    assert layer_names(model) == ["conv_1", "conv_2", "hidden_1", "output"]
    assert model.get_layer("hidden_1").kernel.shape == (flat, 6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"input_shape": (13,)},
            r"needs images \[height, width, channels\]; the data has the shape \[13\]",
        ),
        (
            {"filters": [4] * 4, "input_shape": (8, 8, 1)},
            "8 x 8 are too small for 4 convolutions, each with pooling 2: at number 4",
        ),
        (
            {"filters": [4] * 3, "padding": "valid", "input_shape": (8, 9, 1)},
            "at number 2 a side of 8 is down to 3",
        ),
    ],
)
def test_cnn_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        cnn(**arguments, outputs=10)


def test_the_smallest_images_that_cnn_takes():
    assert cnn([4, 4, 4], input_shape=(8, 8, 1), outputs=2).output_shape == (
        None,
        2,
    )
    assert cnn(
        [4],
        padding="valid",
        kernel_size=7,
        pool=2,
        input_shape=(8, 8, 1),
        outputs=2,
    ).output_shape == (None, 2)


def test_sequential():
    layers = [keras.layers.Flatten(), keras.layers.Dense(3)]
    assert sequential(layers, input_shape=(2, 2), outputs=3).output_shape == (
        None,
        3,
    )
    with pytest.raises(
        ValueError,
        match=r"gives the shape \[3\]; the targets need \[4\]: end the layers with",
    ):
        sequential(
            [keras.layers.Flatten(), keras.layers.Dense(3)],
            input_shape=(2, 2),
            outputs=4,
        )
    with pytest.raises(ValueError, match="at least one layer"):
        sequential([], input_shape=(2,), outputs=4)


@pytest.mark.parametrize(
    "cell, gates, biases", [("simple", 1, 1), ("lstm", 4, 1), ("gru", 3, 2)]
)
def test_rnn(cell, gates, biases):
    made = {"units": [5, 4], "cell": cell, "input_shape": (7, 3)}
    model = rnn(**made, dropout=0.5, output_shape=(2,))
    assert model.output_shape == (None, 2) and layer_names(model) == [
        "hidden_1",
        "hidden_2",
        "output",
    ]
    recurrent = gates * ((3 + 5 + biases) * 5 + (5 + 4 + biases) * 4)
    assert model.count_params() == recurrent + (4 + 1) * 2
    every_step = rnn(**made, output_shape=(7, 2))
    assert every_step.output_shape == (None, 7, 2)
    every_step.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    np.testing.assert_allclose(
        every_step(x)[:, -1], model(x), rtol=1e-5, atol=1e-6
    )  # one path uses a fused kernel


def test_rnn_computes_the_equations():
    model = rnn(
        [3],
        "simple",
        recurrent_initializer="random_normal",
        input_shape=(6, 2),
        output_shape=(1,),
    )
    kernel, recurrent, bias, out, _ = (
        np.asarray(weight) for weight in model.weights
    )
    x = np.random.default_rng(0).normal(size=(4, 6, 2)).astype("float32")
    state = np.zeros((4, 3), "float32")
    for step in range(6):
        state = np.tanh(x[:, step] @ kernel + state @ recurrent + bias)
    np.testing.assert_allclose(
        model(x), state @ out, rtol=1e-5, atol=1e-6
    )  # float32 sums in another order


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"input_shape": (13,)},
            r"needs sequences \[time, features\]; the data has the shape \[13\]",
        ),
        ({"units": []}, "at least one recurrent layer"),
        (
            {"output_shape": (5, 1)},
            r"gives \[7, outputs\], one row .* the targets need \[5, 1\]",
        ),
        ({"output_shape": (7, 2, 2)}, r"the targets need \[7, 2, 2\]"),
    ],
)
def test_rnn_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        rnn(**{"input_shape": (7, 3), "output_shape": (2,)} | arguments)
