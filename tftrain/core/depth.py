"""From the first hidden layer to the last: how much of the gradient is lost, or gained, on its way down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_LEAST = float(np.finfo(np.float32).smallest_subnormal)


def hidden_ends(names: Sequence[str], params: Sequence[Any]) -> tuple[int, int] | None:
    """Where the kernels of the first and of the last hidden layer stand among the parameters, if these are two.

    A kernel is the first parameter of rank 2 or more that a layer has, in model order; the last layer that has one is
    the output layer, and not hidden.
    """
    kernels: dict[str, int] = {}
    for index, (name, param) in enumerate(zip(names, params, strict=True)):
        if len(param.shape) >= 2:
            kernels.setdefault(name.rpartition("/")[0], index)
    *hidden, _ = [*kernels.values()] or [None]
    return (hidden[0], hidden[-1]) if len(hidden) > 1 else None


def depth_ratio(norms: np.ndarray, ends: tuple[int, int]) -> float:
    """The first hidden kernel's gradient norm over the last one's; NaN where both are 0.

    A 0 beside a norm that is none counts as the least float32 above it: nothing arrives, and TensorBoard, which is
    given the log10, would draw infinity at 0 decades, where all is well.

    Args:
        norms: of each parameter, [parameters] float64.
        ends: the indices of the two kernels.
    """
    first, last = (float(norms[end]) for end in ends)
    if first == 0 == last:
        return float("nan")
    return float(np.divide(first or _LEAST, last or _LEAST))
