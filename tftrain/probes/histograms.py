"""Histograms of gradients, weights, updates and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import tensorflow as tf

from tftrain.core.sparse import values_of
from tftrain.core.types import Moment, Probe, Signals, Tensor
from tftrain.probes.activations import ZERO_BELOW
from tftrain.probes.buckets import equal_buckets, half_octaves, log10_rows, value_rows

What = Literal["gradients", "weights", "updates", "activations"]
Axis = Literal["log10", "value"]

_AXES = {"log10": (half_octaves, log10_rows), "value": (equal_buckets, value_rows)}


def histograms(what: What, axis: Axis) -> Probe:
    """The histogram of each parameter's gradient, weights or update, or of each layer's activations.

    Named as `gradients/<name>`; gradients are those before the transforms, weights those before the update. On the axis
    `log10` a bucket is a half octave of the magnitude, which shows vanishing and exploding numbers; on the axis `value`
    there are 64 equal buckets between the least and the greatest finite number. Left out are zeros on the axis `log10`,
    zeros of ReLUs, which would dwarf all else, rows that a sparse gradient does not have, and a histogram of nothing.
    """
    look, (count, rows) = _LOOKS[what], _AXES[axis]

    def measure(moment: Moment) -> dict:
        return {name: count(tf.cast(values, tf.float32)) for name, values in look(moment).items()}

    def read(measured: dict) -> Signals:
        found = {f"{what}/{name}": rows(counted) for name, counted in measured.items()}
        return Signals(histograms={name: table for name, table in found.items() if len(table)})

    return Probe(measure, read)


def _gradients(moment: Moment) -> dict[str, Tensor]:
    return dict(zip(moment.names, map(values_of, moment.raw), strict=True))


def _weights(moment: Moment) -> dict[str, Tensor]:
    return dict(zip(moment.names, moment.params, strict=True))


def _updates(moment: Moment) -> dict[str, Tensor]:
    return dict(zip(moment.names, moment.updates, strict=True))


def _activations(moment: Moment) -> dict[str, Tensor]:
    return {
        name: tf.where(values == 0, values.dtype.as_numpy_dtype("nan"), values) if function in ZERO_BELOW else values
        for name, (function, values) in moment.activations.items()
    }


_LOOKS: dict[str, Callable[[Moment], dict[str, Tensor]]] = {
    "gradients": _gradients,
    "weights": _weights,
    "updates": _updates,
    "activations": _activations,
}
