"""A convolutional network for images."""

from __future__ import annotations

from typing import Literal

import keras

from tftrain.models.weights import fresh
from tftrain.values import Activation, Initializer, NonNegativeInt, PositiveInt, Share


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

    Raises:
        ValueError: the input is no image, or the image is used up by pooling before the last convolution.
    """
    if len(input_shape) != 3:
        raise ValueError(f"cnn needs images [height, width, channels]; the data has the shape {list(input_shape)}")
    x = inputs = keras.Input(input_shape)
    for index, width in enumerate(filters):
        if min(x.shape[1:3]) < (kernel_size if padding == "valid" else 1) or min(x.shape[1:3]) < max(pool, 1):
            raise ValueError(
                f"cnn has {len(filters)} convolutions with pooling {pool}, which an image of "
                f"{input_shape[0]} x {input_shape[1]} cannot feed: only {x.shape[1]} x {x.shape[2]} is left at number {index + 1}"
            )
        kernel, name = fresh(kernel_initializer), f"conv_{index + 1}"
        bias = not batch_norm
        x = keras.layers.Conv2D(width, kernel_size, padding=padding, use_bias=bias, kernel_initializer=kernel, name=name)(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"norm_{index + 1}")(x)
        x = keras.layers.Activation(activation, name=f"activation_{index + 1}")(x)
        if pool > 1:
            x = keras.layers.MaxPooling2D(pool, name=f"pool_{index + 1}")(x)
    x = keras.layers.Flatten()(x)
    for index, width in enumerate(hidden):
        x = keras.layers.Dropout(dropout)(x) if dropout else x
        kernel, name = fresh(kernel_initializer), f"hidden_{index + 1}"
        x = keras.layers.Dense(width, activation=activation, kernel_initializer=kernel, name=name)(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    kernel = fresh(kernel_initializer)
    x = keras.layers.Dense(outputs, activation=output_activation, kernel_initializer=kernel, name="output")(x)
    return keras.Model(inputs, x, name="cnn")
