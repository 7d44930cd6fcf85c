"""Data small enough to check with a pencil."""

from __future__ import annotations

import numpy as np


def xor():
    """Exclusive or: four points, labeled 1 where exactly one of the two inputs is 1."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return x, np.array([0, 1, 1, 0])


def points(x: list[float], y: list[float]):
    """Points that the config writes out: numbers x `[points, 1]` and their targets y."""
    return np.array(x, np.float32)[:, np.newaxis], np.array(y, np.float32)
