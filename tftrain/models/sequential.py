"""A network written out layer by layer."""

from __future__ import annotations

import keras

from tftrain.config.field_types import Layer
from tftrain.models.initializers import require_single_input


def sequential(
    layers: list[Layer], *, input_shape: tuple, outputs: int
) -> keras.Model:
    """The given layers, Keras' or your own by dotted path, one after the other; the last one gives the outputs.

    Input `[batch, ...]`, output `[batch, outputs]`, or of more axes where the targets have them.

    Args:
        layers: of Keras or of your own.
        input_shape: of an example.
        outputs: how many values the model should give.


    Raises:
        ValueError: there is no layer, an example is several arrays, or the last layer does not fit the targets.
    """
    if not layers:
        raise ValueError("sequential needs at least one layer")
    require_single_input(input_shape)
    model = keras.Sequential(
        [keras.Input(input_shape), *layers], name="sequential"
    )
    shape = model.output_shape[1:]
    if len(shape) < 2 and shape != (
        outputs,
    ):  # more axes are for the loss to compare with the targets
        raise ValueError(
            f"the last layer gives the shape {list(shape)}; the targets need [{outputs}]: "
            f"end the layers with {{name: dense, units: {outputs}}}"
        )
    return model
