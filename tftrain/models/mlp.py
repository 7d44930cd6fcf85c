"""A multi-layer perceptron."""

from __future__ import annotations

import keras

from tftrain.models.inputs import expect_one_array
from tftrain.models.weights import fresh
from tftrain.values import Activation, Initializer, PositiveInt, Share


def mlp(
    hidden: list[PositiveInt] = [128, 64],  # noqa: B006 (read, never changed)
    activation: Activation = "relu",
    output_activation: Activation = "linear",
    kernel_initializer: Initializer = "glorot_uniform",
    batch_norm: bool = False,
    dropout: Share = 0.0,
    *,
    input_shape: tuple,
    outputs: int,
) -> keras.Model:
    """Dense layers of the given widths; an input of any shape is flattened.

    Input `[batch, ...]`, output `[batch, outputs]`: logits unless `output_activation` says otherwise.
    """
    expect_one_array(input_shape)
    layers = [keras.Input(input_shape)]
    if len(input_shape) != 1:
        layers.append(keras.layers.Flatten())
    for index, width in enumerate(hidden):
        name = f"hidden_{index + 1}"
        kernel = fresh(kernel_initializer)
        layers.append(keras.layers.Dense(width, use_bias=not batch_norm, kernel_initializer=kernel, name=name))
        if batch_norm:
            layers.append(keras.layers.BatchNormalization(name=f"norm_{index + 1}"))
        layers.append(keras.layers.Activation(activation, name=f"activation_{index + 1}"))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    kernel = fresh(kernel_initializer)
    layers.append(keras.layers.Dense(outputs, activation=output_activation, kernel_initializer=kernel, name="output"))
    return keras.Sequential(layers, name="mlp")
