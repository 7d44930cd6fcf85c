"""Between which values the outputs of a graph can lie: interval arithmetic, from an output back to what makes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

Bounds = tuple[float, float]


class Span(NamedTuple):
    """The lowest and highest value that a tensor can have, and how it comes about.

    `activation` is 'softmax' or 'sigmoid' where the values are those of it, only moved about; `weighted` says that
    weights of the model are added to or multiplied with what comes in, as at the end of a Dense layer; `exact` that
    both bounds can be reached, where an operation on two dependent tensors may make the true ones narrower.
    """

    low: float = -math.inf
    high: float = math.inf
    exact: bool = False
    activation: str | None = None
    weighted: bool = False

    def within(self, low: float, high: float) -> bool:
        """Return whether all values are between two numbers.

        Args:
            low: the lower one.
            high: the higher one.
        """
        return low <= self.low and self.high <= high


_UNKNOWN = Span()
_ROUNDING = 1e-6  # of an interval's bounds
_BOUNDED = {  # operations whose results lie between two numbers, whatever comes in
    "Sigmoid": Span(0.0, 1.0, exact=True, activation="sigmoid"),
    "Softmax": Span(0.0, 1.0, exact=True, activation="softmax"),
    "LogSoftmax": Span(-math.inf, 0.0),
    "Tanh": Span(-1.0, 1.0, exact=True),
    "Softsign": Span(-1.0, 1.0, exact=True),
    "Sin": Span(-1.0, 1.0, exact=True),
    "Cos": Span(-1.0, 1.0, exact=True),
    "Softplus": Span(0.0, math.inf),
    "Elu": Span(-1.0, math.inf),
}
_MOVING = {  # operations that move the values of their first input about, and leave them as they are
    *(
        "Identity",
        "IdentityN",
        "StopGradient",
        "PreventGradient",
        "CheckNumerics",
        "Snapshot",
        "EnsureShape",
    ),
    *(
        "Reshape",
        "Squeeze",
        "ExpandDims",
        "Transpose",
        "Cast",
        "StridedSlice",
        "Slice",
        "GatherV2",
        "GatherNd",
    ),
    *(
        "Tile",
        "BroadcastTo",
        "ReverseV2",
        "Unpack",
        "SpaceToDepth",
        "DepthToSpace",
        "SpaceToBatchND",
        "BatchToSpaceND",
    ),
}
_MIXING = {
    "Mean",
    "Max",
    "Min",
    "MaxPool",
    "AvgPool",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "Split",
    "SplitV",
}
_PRODUCTS = {
    *(
        "MatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "Einsum",
        "BiasAdd",
        "Conv2D",
        "Conv3D",
        "DepthwiseConv2dNative",
    ),
    *(
        "Conv2DBackpropInput",
        "Conv3DBackpropInputV2",
        "AddV2",
        "Add",
        "Sub",
        "Mul",
    ),
}


def span_of(tensor: tf.Tensor) -> Span:
    """Follow a symbolic tensor of a graph back to bounds on its values; unbounded where an operation is not known."""
    known: dict[str, Span] = {}
    waiting = [
        tensor
    ]  # no recursion: a graph can be deeper than Python's stack
    while waiting:
        current = waiting[-1]
        missing = [
            source
            for source in _value_inputs(current)
            if source.name not in known
        ]
        if current.name not in known and missing:
            known[current.name] = (
                _UNKNOWN  # where a graph goes round, this is what stands there
            )
            waiting += missing
            continue
        known[current.name] = _bound_output(
            current, [known[source.name] for source in _value_inputs(current)]
        )
        waiting.pop()
    return known[tensor.name]


def _value_inputs(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Those that the values of a tensor are made of, as far as its operation is known."""
    kind, inputs = tensor.op.type, list(tensor.op.inputs)
    if kind in _BOUNDED or kind not in (_MOVING | _MIXING | _OTHERS.keys()):
        return []
    if kind == "IdentityN":
        return [inputs[tensor.value_index]]
    if kind == "ConcatV2":
        return inputs[:-1]
    if kind == "Split":
        return inputs[1:]
    if kind in ("Select", "SelectV2"):
        return inputs[1:]
    return inputs if kind in _OTHERS else inputs[:1]


def _bound_output(tensor: tf.Tensor, inputs: list[Span]) -> Span:
    kind = tensor.op.type
    if kind == "Const":
        value = np.asarray(tf.get_static_value(tensor))
        return (
            Span(float(value.min()), float(value.max()), exact=True)
            if _is_numeric(value)
            else _UNKNOWN
        )
    if kind in _BOUNDED:
        return _BOUNDED[kind]
    if kind in _MOVING and inputs:
        return inputs[0]
    if kind in _MIXING and inputs:
        return Span(inputs[0].low, inputs[0].high, inputs[0].exact)
    if kind in _PRODUCTS and any(map(_is_weight, tensor.op.inputs)):
        return Span(weighted=True)
    if kind not in _OTHERS:
        return _UNKNOWN
    low, high = _OTHERS[kind](*[(span.low, span.high) for span in inputs])
    constants = [span for span in inputs if span.low == span.high]
    exact = (
        all(span.exact for span in inputs) and len(inputs) - len(constants) <= 1
    )
    return Span(low, high, exact) if not math.isnan(low + high) else _UNKNOWN


def _is_numeric(value: np.ndarray) -> bool:
    return value.dtype.kind in "fiub" and value.size > 0


def _is_weight(tensor: tf.Tensor) -> bool:
    """Whether it is a variable of the model, in whatever shape and precision."""
    while tensor.op.type in _MOVING and tensor.op.inputs:
        tensor = tensor.op.inputs[0]
    return tensor.op.type in ("ReadVariableOp", "VariableV2")


def _add_bounds(a: Bounds, b: Bounds) -> Bounds:
    return a[0] + b[0], a[1] + b[1]


def _subtract_bounds(a: Bounds, b: Bounds) -> Bounds:
    return a[0] - b[1], a[1] - b[0]


def _multiply_bounds(first: Bounds, second: Bounds) -> Bounds:
    products = [0.0 if 0.0 in (a, b) else a * b for a in first for b in second]
    return min(products), max(products)


def _divide_bounds(a: Bounds, b: Bounds) -> Bounds:
    if b[0] <= 0 <= b[1]:
        return -math.inf, math.inf
    return _multiply_bounds(a, (1 / b[1], 1 / b[0]))


def _hull_of(*spans: Bounds) -> Bounds:
    return min(low for low, _ in spans), max(high for _, high in spans)


def _min_bounds(a: Bounds, b: Bounds) -> Bounds:
    return min(a[0], b[0]), min(a[1], b[1])


def _max_bounds(a: Bounds, b: Bounds) -> Bounds:
    return max(a[0], b[0]), max(a[1], b[1])


def _clip_bounds(bounds: Bounds, low: Bounds, high: Bounds) -> Bounds:
    return _max_bounds(_min_bounds(bounds, high), low)


def _square_bounds(bounds: Bounds) -> Bounds:
    _, high = _multiply_bounds(bounds, bounds)
    return (
        0.0
        if bounds[0] <= 0 <= bounds[1]
        else min(bounds[0] ** 2, bounds[1] ** 2)
    ), high


def _absolute_bounds(bounds: Bounds) -> Bounds:
    high = max(abs(bounds[0]), abs(bounds[1]))
    return (
        0.0
        if bounds[0] <= 0 <= bounds[1]
        else min(abs(bounds[0]), abs(bounds[1]))
    ), high


def _exponential_bounds(bounds: Bounds) -> Bounds:
    low, high = np.exp(np.clip(bounds, -700.0, 700.0))
    return (0.0 if bounds[0] < -700 else float(low)), (
        math.inf if bounds[1] > 700 else float(high)
    )


_OTHERS: dict[str, Callable[..., Bounds]] = {
    **dict.fromkeys(("AddV2", "Add"), _add_bounds),
    **dict.fromkeys(("ConcatV2", "Pack", "Select", "SelectV2"), _hull_of),
    "Sub": _subtract_bounds,
    "Mul": _multiply_bounds,
    "RealDiv": _divide_bounds,
    "Minimum": _min_bounds,
    "Maximum": _max_bounds,
    "ClipByValue": _clip_bounds,
    "Neg": lambda one: (-one[1], -one[0]),
    "Square": _square_bounds,
    "Abs": _absolute_bounds,
    "Exp": _exponential_bounds,
    "Relu": lambda one: (max(one[0], 0.0), max(one[1], 0.0)),
    "Relu6": lambda one: (
        min(max(one[0], 0.0), 6.0),
        min(max(one[1], 0.0), 6.0),
    ),
}
