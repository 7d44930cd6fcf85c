"""Data in which the batch of one step is wrong, where it is not shuffled."""

import numpy as np


def data(at: int, by: float):
    """Batches of 8 examples for 30 steps; the targets of step `at` are multiplied `by`."""
    random = np.random.default_rng(0)
    x = random.normal(size=(240, 3)).astype("float32")
    y = x.sum(1, keepdims=True)
    y[(at - 1) * 8 : at * 8] *= np.float32(by)
    return x, y
