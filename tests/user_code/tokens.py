"""Whole numbers as data of a user's own, [examples, time]."""

from __future__ import annotations

import numpy as np


def late(length: int = 6):
    """Of numbers from 0 to 4, but for one in the last example."""
    x = np.random.default_rng(0).integers(0, 5, (16, length))
    x[-1, 2] = 9
    return x, np.arange(16) % 3


def tagged(one_hot: bool = False, length: int = 3):
    """A class for each number, of as many as an example has numbers."""
    x = np.random.default_rng(0).integers(0, 5, (40, length))
    return x, np.eye(3, dtype=np.float32)[x % 3] if one_hot else x % 3
