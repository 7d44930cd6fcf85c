"""The sizes of the weights, of what a step adds to them, and the weights themselves."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tftrain.config.field_types import PositiveInt
from tftrain.core.numerics import norms
from tftrain.core.types import LogData, Probe, StepOutputs, Tensor
from tftrain.core.variables import element_name


def weight_norms() -> Probe:
    """Of each parameter `weight_norm/<name>`, the L2 norm before the update, and `update_ratio/<name>`.

    The ratio is the norm of the update over that of the weights; around 1e-3 is usual for a network that learns well.
    Weights that are all 0, as new biases are, have none.
    """
    names: list[str] = []

    def measure(step_outputs: StepOutputs) -> dict:
        names[:] = step_outputs.names
        return {
            "norms": norms([*step_outputs.params, *step_outputs.updates])
        }  # one vector, [2 * parameters]

    def read(measured: dict) -> LogData:
        weights, updates = np.split(measured["norms"].astype(np.float64), 2)
        sizes = {
            f"weight_norm/{name}": size
            for name, size in zip(names, weights.tolist(), strict=True)
        }
        ratios = {
            names[place]: float(updates[place] / weights[place])
            for place in np.flatnonzero(weights)
        }
        return LogData(
            sizes
            | {f"update_ratio/{name}": ratio for name, ratio in ratios.items()}
        )

    return Probe(measure, read)


def weights(most: PositiveInt = 10) -> Probe:
    """The first `most` numbers of each parameter, row by row, before the update.

    Such as `weight/000.hidden/kernel.0.2` for row 0 and column 2.
    """
    names: list[str] = []

    def measure(step_outputs: StepOutputs) -> Tensor:
        shapes = [param.shape.as_list() for param in step_outputs.params]
        names[:] = [
            f"weight/{element_name(name, shape, place)}"
            for name, shape in zip(step_outputs.names, shapes, strict=True)
            for place in range(min(math.prod(shape), most))
        ]
        return tf.concat(
            [
                tf.cast(tf.reshape(param, [-1])[:most], tf.float32)
                for param in step_outputs.params
            ],
            0,
        )

    return Probe(
        measure,
        lambda measured: LogData(
            dict(zip(names, measured.tolist(), strict=True))
        ),
    )
