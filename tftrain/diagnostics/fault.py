"""Where a step went wrong first, from its forward and its backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np

from tftrain.core.types import Batch
from tftrain.data.batches import named_leaves
from tftrain.diagnostics.layer_stats import describe_layer, describe_nonfinite

if TYPE_CHECKING:
    from tftrain.diagnostics.layer_stats import (
        LayerRow,
        ParameterRow,
        TraceStats,
    )

_WORST = 3  # gradients that are named


class FaultReport(NamedTuple):
    """What went bad first, in lines for people; `own` names what has code of the user's in it, where that is it."""

    lines: list[str]
    data: bool = False
    weights: bool = False
    own: str | None = None


def locate_fault(table: TraceStats, batch: Batch) -> FaultReport:
    """Return what went bad first: the data, the weights, a layer of the forward pass, or one of the backward pass.

    Args:
        table: a pass of the batch in numbers.
        batch: the examples.
    """
    data = bad_data(batch)
    spoiled = [
        f"before the step {parameter.name} held {describe_nonfinite(parameter.weight)}"
        for parameter in table.parameters
        if parameter.weight.bad
    ]
    lines = [f"batch: {line}" for line in data] + [
        f"weights: {line}" for line in spoiled
    ]
    message, owner = _forward_fault(table)
    if message is None:
        lines.append(
            f"forward pass: every layer gives finite numbers, the loss is {table.loss:g}"
        )
        message, owner = _backward_fault(table)
    return FaultReport(
        [*lines, message],
        bool(data),
        bool(spoiled),
        None if data or spoiled else owner,
    )


def bad_data(batch: Batch) -> list[str]:
    """Where a batch holds NaN or Inf: of each of its parts how many, and the place of the first."""
    lines = []
    for part, leaf in named_leaves(batch).items():
        values = np.asarray(leaf)
        places = (
            np.argwhere(~np.isfinite(values))
            if values.dtype.kind == "f"
            else ()
        )
        if len(places):
            example, *axes = (int(index) for index in places[0])
            place = (
                f" column {axes[0]}"
                if len(axes) == 1
                else f" at {axes}"
                if axes
                else ""
            )
            total = f"; {len(places)} in all" if len(places) > 1 else ""
            value = values[tuple(places[0])]
            lines.append(
                f"{part}{place} of example {example} (counted from 0) is {value:g}{total}"
            )
    return lines


def worst_gradients(table: TraceStats) -> list[str]:
    """The parameters with the largest gradients, those that are not finite first."""

    def size(parameter: ParameterRow) -> tuple:
        return parameter.grad.bad, parameter.grad.norm if np.isfinite(
            parameter.grad.norm
        ) else 0

    having = sorted(
        (
            parameter
            for parameter in table.parameters
            if parameter.grad is not None
        ),
        key=size,
        reverse=True,
    )
    return [_gradient_words(parameter) for parameter in having[:_WORST]]


def _gradient_words(parameter: ParameterRow) -> str:
    share = (
        ""
        if np.isnan(parameter.share)
        else f", {parameter.share:.1%} of the square of the whole"
    )
    return (
        f"{parameter.name}: {describe_nonfinite(parameter.grad)}"
        if parameter.grad.bad
        else f"{parameter.name}: norm {parameter.grad.norm:.3g}{share}"
    )


def _forward_fault(table: TraceStats) -> tuple[str | None, str | None]:
    previous = None
    for row in table.layers:
        if row.a.bad or (row.z is not None and row.z.bad):
            message = (
                f"its z holds {describe_nonfinite(row.z)}"
                if row.z and row.z.bad
                else f"it gives {describe_nonfinite(row.a)}"
            )
            input_range = (
                f"; {previous.name} before it gives [{previous.a.least:.3g}, {previous.a.most:.3g}]"
                if previous
                else ""
            )
            message = f"forward pass: the first layer that went bad is {describe_layer(row)}: {message}{input_range}"
            return message + _weight_words(row, table), _user_layer(row)
        previous = row
    if not np.isfinite(table.loss):
        return (
            f"forward pass: every layer gives finite numbers, but the loss is {table.loss:g}",
            "the loss",
        )
    return None, None


def _weight_words(row: LayerRow, table: TraceStats) -> str:
    parameters = [
        parameter
        for parameter in table.parameters
        if table.layer_of(parameter.name) is row
    ]
    norms = ", ".join(
        f"{parameter.name.rpartition('/')[2]} {parameter.weight.norm:.3g}"
        for parameter in parameters
    )
    return f"; the norms of its weights: {norms}" if parameters else ""


def _backward_fault(table: TraceStats) -> tuple[str, str | None]:
    """From the output down: what a layer gets back is the work of the layer above."""
    above = None
    for row in reversed(table.layers):
        if row.arrived is not None and row.arrived.bad:
            message = f"what {row.name} below it gets back holds {describe_nonfinite(row.arrived)}"
            return _backward_words(
                describe_layer(above) if above else "the loss", message
            ), _user_layer(above)
        if row.delta is not None and row.delta.bad:
            return _backward_words(
                describe_layer(row),
                f"its error term holds {describe_nonfinite(row.delta)}",
            ), _user_layer(row)
        wrong = [
            parameter
            for parameter in table.parameters
            if parameter.grad
            and parameter.grad.bad
            and table.layer_of(parameter.name) is row
        ]
        if wrong:
            message = f"the gradient of {wrong[0].name} holds {describe_nonfinite(wrong[0].grad)}"
            return _backward_words(describe_layer(row), message), _user_layer(
                row
            )
        above = row
    return (
        f"backward pass: every error term and every gradient is finite, their norm is {table.grad_norm:.3g}",
        None,
    )


def _backward_words(where: str, message: str) -> str:
    return f"backward pass: the first that went bad, from the output down, is {where}: {message}"


def _user_layer(row: LayerRow | None) -> str | None:
    """The layer, where its class is none of Keras'."""
    if row is None:
        return "the loss"
    return None if hasattr(keras.layers, row.kind) else row.name
