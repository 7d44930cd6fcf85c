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

ON_BOTH_AXES = ("gradients", "updates")  # axes there may be histograms of these at once
_AXES = {"log10": (half_octaves, log10_rows), "value": (equal_buckets, value_rows)}


def histograms(what: What, axis: Axis) -> Probe:
    """The histogram of each parameter's gradient, weights or update, or of each layer's activations.

    Named as `gradients/<name>`, and gradients and updates on the axis `value` as `gradients_value/<name>`; gradients
    are those before the transforms, weights those before the update. On the axis `log10` a bucket is a half octave of
    the magnitude, which shows vanishing and exploding numbers; on the axis `value` there are 64 equal buckets between
    the least and the greatest finite number. Left out are zeros on the axis `log10`, zeros of ReLUs, which would dwarf
    all else, rows that a sparse gradient does not have, and a histogram of nothing.

    Args:
        what: `gradients`, `weights`, `updates` or `activations`.
        axis: `log10` or `value`.
    """
    select, (count, rows), names = _LOOKS[what], _AXES[axis], []
    shown_as = f"{what}_value" if what in ON_BOTH_AXES and axis == "value" else what

    def measure(moment: StepOutputs) -> dict:
        named = select(moment)
        order, measured = counted(count, list(named.values()))
        names[:] = [list(named)[place] for place in order]
        return measured

    return Probe(
        measure,
        lambda measured: shown(shown_as, names, rows(measured)) if names else LogData(),
    )


def counted(
    count: Count, tensors: Sequence[Tensor]
) -> tuple[list[int], dict[str, Tensor]]:
    """Count all tensors; return the counts, one tensor after the other, and which tensor each is of.

    Args:
        count: the function that counts some tensors of one shape.
        tensors: of any shapes.
    """
    groups = group_by_shape(tensors)
    counts = [
        count(stack_small([tensors[place] for place in places])) for places in groups
    ]
    joined = {
        name: tf.concat([group_counts[name] for group_counts in counts], 0)
        for name in (counts[0] if counts else ())
    }
    return [place for places in groups for place in places], joined


def shown(what: str, names: Sequence[str], tables: Sequence) -> LogData:
    """Return the histograms that are of something.

    Args:
        what: begins their tags.
        names: of the tensors.
        tables: [buckets, 3] each: left, right, count.
    """
    named = zip(names, tables, strict=True)
    return LogData(
        histograms={f"{what}/{name}": table for name, table in named if len(table)}
    )


def _select_gradients(moment: StepOutputs) -> dict[str, Tensor]:
    return dict(zip(moment.names, map(stored_values, moment.raw), strict=True))


def _select_weights(moment: StepOutputs) -> dict[str, Tensor]:
    return dict(zip(moment.names, moment.params, strict=True))


def _select_updates(moment: StepOutputs) -> dict[str, Tensor]:
    return dict(zip(moment.names, moment.updates, strict=True))


def _select_activations(moment: StepOutputs) -> dict[str, Tensor]:
    return {
        name: tf.where(values == 0, values.dtype.as_numpy_dtype("nan"), values)
        if function in DEAD_AT_ZERO
        else values
        for name, (function, values) in moment.activations.items()
    }


_LOOKS: dict[str, Callable[[StepOutputs], dict[str, Tensor]]] = {
    "gradients": _select_gradients,
    "weights": _select_weights,
    "updates": _select_updates,
    "activations": _select_activations,
}
