"""A recurrent network for sequences."""

from __future__ import annotations

from typing import Literal

import keras

from tftrain.config.field_types import (
    Activation,
    Initializer,
    PositiveInt,
    Share,
)
from tftrain.models.initializers import clone_initializer, require_single_input

_CELLS = {
    "simple": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}


def rnn(
    units: list[PositiveInt] = [64],  # noqa: B006 (read, never changed)
    cell: Literal["simple", "lstm", "gru"] = "lstm",
    activation: Activation = "tanh",
    output_activation: Activation = "linear",
    kernel_initializer: Initializer = "glorot_uniform",
    recurrent_initializer: Initializer = "orthogonal",
    dropout: Share = 0.0,
    *,
    input_shape: tuple,
    output_shape: tuple,
) -> keras.Model:
    """Recurrent layers of the given widths, one upon the other, then a dense layer.

    Input `[batch, time, features]`. Where the targets have a value or a label for each time step, the output is
    `[batch, time, outputs]`, else it is of the last step alone, `[batch, outputs]`; logits unless `output_activation`
    says otherwise. Dropout acts after each recurrent layer.

    Args:
        units: of each recurrent layer.
        cell: its kind.
        activation: of the recurrent layers.
        output_activation: of the last layer.
        kernel_initializer: of the input kernels.
        recurrent_initializer: of the recurrent kernels.
        dropout: after each recurrent layer.
        input_shape: of an example.
        output_shape: what the targets need.


    Raises:
        ValueError: the input is no sequence, there is no layer, or the targets have another number of steps.
    """
    require_single_input(input_shape)
    if len(input_shape) != 2:
        raise ValueError(
            f"rnn needs sequences [time, features]; the data has the shape {list(input_shape)}"
        )
    if not units:
        raise ValueError(
            "rnn needs at least one recurrent layer; given units: []"
        )
    every_step = len(output_shape) > 1
    if every_step and (
        len(output_shape) != 2 or output_shape[0] != input_shape[0]
    ):
        raise ValueError(
            f"rnn gives [{input_shape[0]}, outputs], one row for each time step, or [outputs]; "
            f"the targets need {list(output_shape)}"
        )
    x = inputs = keras.Input(input_shape)
    for index, width in enumerate(units, 1):
        x = _CELLS[cell](
            width,
            activation=activation,
            kernel_initializer=clone_initializer(kernel_initializer),
            recurrent_initializer=clone_initializer(recurrent_initializer),
            return_sequences=every_step or index < len(units),
            name=f"hidden_{index}",
        )(x)
        x = keras.layers.Dropout(dropout)(x) if dropout else x
    kernel = clone_initializer(kernel_initializer)
    last = keras.layers.Dense(
        output_shape[-1],
        activation=output_activation,
        kernel_initializer=kernel,
        name="output",
    )
    return keras.Model(inputs, last(x), name="rnn")
