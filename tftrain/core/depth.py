"""From the first hidden layer to the last: how much of the gradient is lost, or gained, on its way down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


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
    """log10 of the first hidden kernel's gradient norm over the last one's, in decades; NaN where one of them is 0."""
    first, last = (float(norms[end]) for end in ends)
    return float(np.log10(first) - np.log10(last)) if first > 0 and last > 0 else float("nan")
