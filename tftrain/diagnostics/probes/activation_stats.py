"""The state of the activations of each layer: their spread, dead units, and saturation."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.activation_ranges import DEAD_AT_ZERO, SATURATION_RANGE
from tftrain.core.types import Activation, LogData, Probe, StepOutputs, Tensor


def activation_stats() -> Probe:
    """Of each layer that has an activation: `activation_mean/<layer>`, `activation_std/<layer>`.

    Of ReLUs also `zero_activations/<layer>`, the share of values that are 0, and `dead_units/<layer>`, the share of
    units that are 0 for the whole batch; a unit is an index of the last axis, such as a neuron or a channel. Of bounded
    functions also `saturated/<layer>`, the share of values within 0.05 of a bound. From the step's own forward pass.
    """

    layers: list[tuple[str, str]] = []  # the name and the function of each

    def measure(step_outputs: StepOutputs) -> dict:
        layers[:] = [
            (name, activation.function)
            for name, activation in step_outputs.activations.items()
        ]
        return _measure_layers(list(step_outputs.activations.values()))

    return Probe(
        measure,
        lambda measured: (
            LogData(_make_scalars(layers, measured)) if layers else LogData()
        ),
    )


def _measure_layers(activations: list[Activation]) -> dict[str, Tensor]:
    """`means` and `variances`, [layers], and `saturated` shares, [bounded layers].

    Of all units of ReLUs, one layer after the other, `active` shares; `units` is how many there are in each of them.
    """
    values = [
        tf.cast(activation.values, tf.float32) for activation in activations
    ]
    means = [tf.reduce_mean(value) for value in values]
    spreads = [
        tf.math.squared_difference(value, mean)
        for value, mean in zip(values, means, strict=True)
    ]
    numbers_by_name = {
        "means": means,
        "variances": [tf.reduce_mean(spread) for spread in spreads],
    }
    kinds = [activation.function for activation in activations]
    numbers_by_name["saturated"] = [
        _share_beyond(value, *SATURATION_RANGE[kind])
        for kind, value in zip(kinds, values, strict=True)
        if kind in SATURATION_RANGE
    ]
    stacked = {
        name: tf.stack(numbers)
        for name, numbers in numbers_by_name.items()
        if numbers
    }
    active = [
        _active_share(value)
        for kind, value in zip(kinds, values, strict=True)
        if kind in DEAD_AT_ZERO
    ]
    if not active:
        return stacked
    return stacked | {
        "active": tf.concat(active, 0),
        "units": tf.stack([tf.size(activation) for activation in active]),
    }


def _share_beyond(values: Tensor, low: float, high: float) -> Tensor:
    return tf.reduce_mean(tf.cast((values < low) | (values > high), tf.float32))


def _active_share(values: Tensor) -> Tensor:
    """The share of values that are not 0, [units]: 0 for dead ones, however the mean is rounded."""
    return tf.reduce_mean(
        tf.cast(values != 0, tf.float32),
        axis=list(range(values.shape.rank - 1)),
    )


def _make_scalars(
    layers: list[tuple[str, str]], measured: dict
) -> dict[str, float]:
    """The signals of all layers; those that only some have are in the order of these."""
    names, having = [name for name, _ in layers], {}
    having["zero_activations"] = having["dead_units"] = [
        name for name, function in layers if function in DEAD_AT_ZERO
    ]
    having["saturated"] = [
        name for name, function in layers if function in SATURATION_RANGE
    ]
    kinds = {
        "activation_mean": measured["means"],
        "activation_std": np.sqrt(measured["variances"]),
    }
    if "active" in measured:
        active, units = measured["active"].astype(np.float64), measured["units"]
        starts = np.cumsum(units) - units
        kinds["zero_activations"] = 1 - np.add.reduceat(active, starts) / units
        kinds["dead_units"] = (
            np.add.reduceat(active == 0, starts, dtype=np.float64) / units
        )
    if "saturated" in measured:
        kinds["saturated"] = measured["saturated"]
    return {
        f"{kind}/{name}": value
        for kind, values in kinds.items()
        for name, value in zip(
            having.get(kind, names), values.tolist(), strict=True
        )
    }
