"""A multi-layer perceptron."""

from __future__ import annotations

import itertools

import keras

from tftrain.config.field_types import (
    Activation,
    Initializer,
    PositiveInt,
    Share,
)
from tftrain.models.initializers import clone_initializer, require_single_input


def mlp(
    hidden: list[PositiveInt] = [128, 64],  # noqa: B006 (read, never changed)
    activation: Activation = "relu",
    output_activation: Activation = "linear",
    kernel_initializer: Initializer = "glorot_uniform",
    batch_norm: bool = False,
    residual: bool = False,
    dropout: Share = 0.0,
    *,
    input_shape: tuple,
    outputs: int,
) -> keras.Model:
    """Dense layers of the given widths; an input of any shape is flattened.

    Input `[batch, ...]`, output `[batch, outputs]`: logits unless `output_activation` says otherwise. `residual` adds
    to a hidden layer's output the output of the hidden layer before it, where both have one width (He et al., 2016).

    Args:
        hidden: the widths of the hidden layers.
        activation: of the hidden layers.
        output_activation: of the last layer.
        kernel_initializer: of all kernels.
        batch_norm: whether each hidden layer is normalized.
        residual: whether layers of one width are added up.
        dropout: after each hidden layer.
        input_shape: of an example.
        outputs: how many values the model gives.


    Raises:
        ValueError: an example is several arrays, or no hidden layer can have a residual connection.
    """
    require_single_input(input_shape)
    if residual and all(
        width_before != width_after
        for width_before, width_after in itertools.pairwise(hidden)
    ):
        raise ValueError(
            f"residual needs two neighboring hidden layers of one width; given hidden: {hidden}, residual: true"
        )
    x = inputs = keras.Input(input_shape)
    x = x if len(input_shape) == 1 else keras.layers.Flatten()(x)
    for index, width in enumerate(hidden, 1):
        previous, name = x, f"hidden_{index}"
        kernel = clone_initializer(kernel_initializer)
        x = keras.layers.Dense(
            width, use_bias=not batch_norm, kernel_initializer=kernel, name=name
        )(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"norm_{index}")(x)
        x = keras.layers.Activation(activation, name=f"activation_{index}")(x)
        x = keras.layers.Dropout(dropout)(x) if dropout else x
        if residual and index > 1 and width == hidden[index - 2]:
            x = keras.layers.Add(name=f"residual_{index}")([x, previous])
    kernel = clone_initializer(kernel_initializer)
    last = keras.layers.Dense(
        outputs,
        activation=output_activation,
        kernel_initializer=kernel,
        name="output",
    )
    return keras.Model(inputs, last(x), name="mlp")
