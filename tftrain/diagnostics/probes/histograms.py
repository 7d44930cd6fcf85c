"""Histograms of gradients, weights, updates and activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import tensorflow as tf

from tftrain.core.activation_ranges import DEAD_AT_ZERO
from tftrain.core.numerics import stored_values
from tftrain.core.types import LogData, Probe, StepOutputs, Tensor
from tftrain.diagnostics.probes.bucket_counts import (
    equal_buckets,
    group_by_shape,
    half_octaves,
    log10_rows,
    stack_small,
    value_rows,
)

What = Literal["gradients", "weights", "updates", "activations"]
Axis = Literal["log10", "value"]
Count = Callable[[Tensor], dict[str, Tensor]]

# Of these there may be histograms on both axes at once.
ON_BOTH_AXES = ("gradients", "updates")
_AXES = {
    "log10": (half_octaves, log10_rows),
    "value": (equal_buckets, value_rows),
}


def histograms(what: What, axis: Axis) -> Probe:
    """Count histograms of each parameter's gradient, weights or update, or of each layer's activations.

    Named as `gradients/<name>`, and gradients and updates on the axis `value` as `gradients_value/<name>`; gradients
    are those before the transforms, weights those before the update. On the axis `log10` a bucket is a half octave of
    the magnitude, which shows vanishing and exploding numbers; on the axis `value` there are 64 equal buckets between
    the least and the greatest finite number. Left out are zeros on the axis `log10`, zeros of ReLUs, which would dwarf
    all else, rows that a sparse gradient does not have, and a histogram of nothing.

    Args:
        what: `gradients`, `weights`, `updates` or `activations`.
        axis: `log10` or `value`.
    """
    select = _SELECTORS[what]
    count, rows = _AXES[axis]
    prefix = what
    if what in ON_BOTH_AXES and axis == "value":
        prefix = f"{what}_value"
    # The names in the order of the counts, known once the step is traced.
    names: list[str] = []

    def measure(step_outputs: StepOutputs) -> dict:
        tensors = select(step_outputs)
        order, measured = counted(count, list(tensors.values()))
        tensor_names = list(tensors)
        names[:] = [tensor_names[place] for place in order]
        return measured

    def read(measured: dict) -> LogData:
        if not names:
            return LogData()
        return shown(prefix, names, rows(measured))

    return Probe(measure, read)


def counted(
    count: Count, tensors: Sequence[Tensor]
) -> tuple[list[int], dict[str, Tensor]]:
    """Count all tensors; return the counts, one tensor after the other, and which tensor each is of.

    Args:
        count: the function that counts some tensors of one shape.
        tensors: of any shapes.
    """
    order = []
    counts = []
    for places in group_by_shape(tensors):
        order += places
        table = stack_small([tensors[place] for place in places])
        counts.append(count(table))
    if not counts:
        return order, {}
    joined = {}
    for name in counts[0]:
        parts = [group_counts[name] for group_counts in counts]
        joined[name] = tf.concat(parts, 0)
    return order, joined


def shown(what: str, names: Sequence[str], tables: Sequence) -> LogData:
    """Return the histograms that are of something.

    Args:
        what: begins their tags.
        names: of the tensors.
        tables: [buckets, 3] each: left, right, count.
    """
    named_tables = zip(names, tables, strict=True)
    histograms = {
        f"{what}/{name}": table for name, table in named_tables if len(table)
    }
    return LogData(histograms=histograms)


def _select_gradients(step_outputs: StepOutputs) -> dict[str, Tensor]:
    return dict(
        zip(
            step_outputs.names,
            map(stored_values, step_outputs.raw),
            strict=True,
        )
    )


def _select_weights(step_outputs: StepOutputs) -> dict[str, Tensor]:
    return dict(zip(step_outputs.names, step_outputs.params, strict=True))


def _select_updates(step_outputs: StepOutputs) -> dict[str, Tensor]:
    return dict(zip(step_outputs.names, step_outputs.updates, strict=True))


def _select_activations(step_outputs: StepOutputs) -> dict[str, Tensor]:
    selected = {}
    for name, (function, values) in step_outputs.activations.items():
        if function in DEAD_AT_ZERO:
            nan = values.dtype.as_numpy_dtype("nan")
            values = tf.where(values == 0, nan, values)
        selected[name] = values
    return selected


_SELECTORS: dict[str, Callable[[StepOutputs], dict[str, Tensor]]] = {
    "gradients": _select_gradients,
    "weights": _select_weights,
    "updates": _select_updates,
    "activations": _select_activations,
}
