"""A convolutional network for images."""

from __future__ import annotations

from typing import Literal

import keras

from tftrain.config.field_types import (
    Activation,
    Initializer,
    NonNegativeInt,
    PositiveInt,
    Share,
)
from tftrain.models.initializers import clone_initializer, require_single_input


def cnn(
    filters: list[PositiveInt] = [32, 64],  # noqa: B006 (read, never changed)
    kernel_size: PositiveInt = 3,
    pool: NonNegativeInt = 2,
    padding: Literal["same", "valid"] = "same",
    hidden: list[PositiveInt] = [64],  # noqa: B006
    activation: Activation = "relu",
    output_activation: Activation = "linear",
    kernel_initializer: Initializer = "glorot_uniform",
    batch_norm: bool = False,
    dropout: Share = 0.0,
    *,
    input_shape: tuple,
    outputs: int,
) -> keras.Model:
    """Convolutions with pooling between them, then dense layers.

    Input `[batch, height, width, channels]`, output `[batch, outputs]`: logits unless `output_activation` says
    otherwise. `pool` is the side of the max-pooling window after each convolution; 0 and 1 pool nothing. Dropout acts
    before every dense layer.

    Args:
        filters: of each convolution.
        kernel_size: its side, in pixels.
        pool: the side of the max-pooling window after each convolution; 0 and 1 pool nothing.
        padding: of the convolutions.
        hidden: the widths of the dense layers.
        activation: of all layers but the last.
        output_activation: of the last.
        kernel_initializer: of all kernels.
        batch_norm: whether each hidden layer is normalized.
        dropout: before every dense layer.
        input_shape: of an example.
        outputs: how many values the model gives.


    Raises:
        ValueError: the input is no image, or the image is used up by pooling before the last convolution.
    """
    require_single_input(input_shape)
    if len(input_shape) != 3:
        raise ValueError(
            f"cnn needs images [height, width, channels]; the data has the shape {list(input_shape)}"
        )
    _check_size(
        input_shape,
        len(filters),
        max(pool, 1),
        kernel_size if padding == "valid" else 1,
    )
    x = inputs = keras.Input(input_shape)
    for index, width in enumerate(filters, 1):
        kernel = clone_initializer(kernel_initializer)
        x = keras.layers.Conv2D(
            width,
            kernel_size,
            padding=padding,
            use_bias=not batch_norm,
            kernel_initializer=kernel,
            name=f"conv_{index}",
        )(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"norm_{index}")(x)
        x = keras.layers.Activation(activation, name=f"activation_{index}")(x)
        if pool > 1:
            x = keras.layers.MaxPooling2D(pool, name=f"pool_{index}")(x)
    x = keras.layers.Flatten()(x)
    for index, width in enumerate(hidden, 1):
        x = keras.layers.Dropout(dropout)(x) if dropout else x
        kernel = clone_initializer(kernel_initializer)
        x = keras.layers.Dense(
            width,
            activation=activation,
            kernel_initializer=kernel,
            name=f"hidden_{index}",
        )(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    kernel = clone_initializer(kernel_initializer)
    x = keras.layers.Dense(
        outputs,
        activation=output_activation,
        kernel_initializer=kernel,
        name="output",
    )(x)
    return keras.Model(inputs, x, name="cnn")


def _check_size(
    shape: tuple, convolutions: int, pool: int, kernel_size: int
) -> None:
    """Raise ValueError where the image is used up before the last convolution."""
    side = shorter_side = min(shape[:2])
    for index in range(1, convolutions + 1):
        if side < kernel_size or side - kernel_size + 1 < pool:
            raise ValueError(
                f"images of {shape[0]} x {shape[1]} are too small for {convolutions} convolutions, each with pooling "
                f"{pool}: at number {index} a side of {shorter_side} is down to {side}"
            )
        side = (side - kernel_size + 1) // pool
