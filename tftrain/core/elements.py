"""What the single numbers of a parameter are called: `000.hidden/kernel.0.2` is row 0, column 2 of that kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def element_name(param: str, shape: Sequence[int], place: int) -> str:
    """Of a parameter with this name and shape the number at a place in row-major order."""
    return ".".join([param, *(str(index) for index in np.unravel_index(place, shape))] if shape else [param])


def element(name: str, params: Sequence[str], shapes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Which parameter a number is of, and its place there; raises ValueError for a name that is none."""
    for number, (param, shape) in enumerate(zip(params, shapes, strict=True)):
        indices = name.removeprefix(f"{param}.").split(".") if shape else []
        if name != ".".join([param, *indices]) or len(indices) != len(shape):
            continue
        if all(one in map(str, range(side)) for one, side in zip(indices, shape, strict=True)):
            return number, int(np.ravel_multi_index([*map(int, indices)], shape)) if shape else 0
    last = [element_name(param, shape, int(np.prod(shape)) - 1) for param, shape in zip(params, shapes, strict=True)]
    raise ValueError(f"given '{name}', which names no number; the last of each parameter are {', '.join(last)}")
