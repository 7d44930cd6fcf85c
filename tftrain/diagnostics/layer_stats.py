"""The forward and the backward pass in numbers, layer by layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tftrain.core.activation_ranges import DEAD_AT_ZERO, SATURATION_RANGE


class LayerTrace(NamedTuple):
    """One call of a layer, as arrays: what it added up, what it gave, and the error term that came back.

    `z` is what the activation function got, None where there is none, and `a` itself where it changes nothing; `a` is
    what the layer gave. `delta` is the gradient of the loss with respect to z, or else a, and `arrived` that with
    respect to a: None where the loss does not reach it. `function` names the activation. Of several outputs the numbers
    of all stand one behind the other.
    """

    name: str
    kind: str  # the layer's class
    function: str | None
    z: np.ndarray | None
    a: np.ndarray
    delta: np.ndarray | None
    arrived: np.ndarray | None


class ModelTrace(NamedTuple):
    """What `passes` saw: the layers in the order of the forward pass, and the parameters that are trained.

    `grads` has an array for each parameter, of a sparse one the rows that the batch touched; None where the loss does
    not reach it. `inputs` has the gradient with respect to each floating-point input that the loss reaches.
    """

    loss: float
    layers: list[LayerTrace]
    names: list[str]
    params: list[np.ndarray]
    grads: list[np.ndarray | None]
    inputs: list[np.ndarray]


class ValueStats(NamedTuple):
    """How the finite ones of some numbers are spread, NaN where there is none; `zeros` is a share of all numbers."""

    size: int
    mean: float
    std: float
    least: float
    most: float
    zeros: float
    nans: int
    infs: int

    @property
    def bad(self) -> int:
        """How many values are not finite."""
        return self.nans + self.infs


class NormStats(NamedTuple):
    """The L2 norm of some numbers and their largest absolute value, of all of them; NaN where one is NaN."""

    size: int
    norm: float
    most: float
    nans: int
    infs: int

    @property
    def bad(self) -> int:
        """How many values are not finite."""
        return self.nans + self.infs


class LayerRow(NamedTuple):
    """A call of a layer; see LayerPass.

    `dead` is the share of a ReLU's units that are 0 for the whole batch, `saturated` the share of a bounded function's
    values within 0.05 of a bound; None for other functions.
    """

    name: str
    kind: str
    function: str | None
    shape: tuple[int, ...]
    z: ValueStats | None
    a: ValueStats
    dead: float | None
    saturated: float | None
    delta: NormStats | None
    arrived: NormStats | None


class ParameterRow(NamedTuple):
    """A parameter and its gradient, which is None where the loss does not reach it.

    `share` is that of the squared gradient norm, NaN where this is 0 or not finite.
    """

    name: str
    weight: NormStats
    grad: NormStats | None
    share: float


class TraceStats(NamedTuple):
    """A pass in numbers: the layers in the order of the forward pass, the parameters in the model's."""

    loss: float
    grad_norm: float
    layers: list[LayerRow]
    parameters: list[ParameterRow]

    def layer_of(self, parameter: str) -> LayerRow | None:
        """The layer that a parameter is in, by their names; a cell of a recurrent layer counts as that layer."""
        owner = parameter.rpartition("/")[0]
        inner = f"{_layer_path(owner)}."
        fitting = [row for row in self.layers if row.name == owner]
        fitting += [
            row
            for row in self.layers
            if inner.startswith(f"{_layer_path(row.name)}.")
        ]
        return max(
            fitting,
            key=lambda row: (row.name == owner, len(row.name)),
            default=None,
        )


def summarize(passes: ModelTrace) -> TraceStats:
    """Return a pass in numbers: layer by layer, and parameter by parameter."""
    with np.errstate(all="ignore"):
        weights = [length(param) for param in passes.params]
        grads = [
            None if grad is None else length(grad) for grad in passes.grads
        ]
        total = float(
            np.sqrt(sum(np.square(grad.norm) for grad in grads if grad))
        )
        known = 0 < total < np.inf
        shares = [
            grad.norm**2 / total**2 if grad and known else np.nan
            for grad in grads
        ]
        rows = zip(passes.names, weights, grads, shares, strict=True)
        return TraceStats(
            passes.loss,
            total,
            [_layer_row(layer) for layer in passes.layers],
            [ParameterRow(*r) for r in rows],
        )


def _layer_row(trace: LayerTrace) -> LayerRow:
    dead = saturated = None
    if trace.function in DEAD_AT_ZERO and trace.a.ndim:
        dead = float(
            np.mean(~trace.a.reshape(-1, trace.a.shape[-1]).any(axis=0))
        )
    if trace.function in SATURATION_RANGE:
        low, high = SATURATION_RANGE[trace.function]
        saturated = float(np.mean((trace.a < low) | (trace.a > high)))
    z = None if trace.z is None or trace.z is trace.a else spread(trace.z)
    terms = [
        None if term is None else length(term)
        for term in (trace.delta, trace.arrived)
    ]
    return LayerRow(
        trace.name,
        trace.kind,
        trace.function,
        trace.a.shape,
        z,
        spread(trace.a),
        dead,
        saturated,
        *terms,
    )


def spread(values: np.ndarray) -> ValueStats:
    """Return how values are distributed."""
    finite = values[np.isfinite(values)].astype(np.float64)
    nans = int(np.isnan(values).sum())
    figures = (
        (finite.mean(), finite.std(), finite.min(), finite.max())
        if finite.size
        else (np.nan,) * 4
    )
    zeros = float(np.mean(values == 0)) if values.size else np.nan
    return ValueStats(
        values.size,
        *map(float, figures),
        zeros,
        nans,
        values.size - finite.size - nans,
    )


def length(values: np.ndarray) -> NormStats:
    """Return the L2 norm of values, and their largest."""
    wide = values.astype(np.float64)
    norm, largest = (
        float(np.linalg.norm(wide)),
        float(np.abs(wide).max(initial=0)),
    )
    return NormStats(
        values.size,
        norm,
        largest,
        int(np.isnan(wide).sum()),
        int(np.isinf(wide).sum()),
    )


def _layer_path(name: str) -> str:
    """The name of a layer without its number, and without the number of the call."""
    return name.partition(".")[2].partition(" (call")[0]


def describe_layer(row: LayerRow) -> str:
    """Return a layer's name with its class and activation function, such as `000.dense (Dense, relu)`."""
    function = f", {row.function}" if row.function else ""
    return f"{row.name} ({row.kind}{function})"


def describe_nonfinite(stats: ValueStats | NormStats) -> str:
    """Return how many values are not finite, such as `3 NaN and 1 Inf of 64 numbers`."""
    counts = []
    if stats.nans:
        counts.append(f"{stats.nans} NaN")
    if stats.infs:
        counts.append(f"{stats.infs} Inf")
    return f"{' and '.join(counts)} of {stats.size} numbers"
