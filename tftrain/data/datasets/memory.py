"""Sequences whose targets hang on what was seen long before; drawn from the run's seed."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tftrain.config.field_types import PositiveInt, Range


def adding(examples: PositiveInt = 2000, length: Annotated[int, Range(2)] = 50, *, seed: int):
    """The sum of two marked numbers out of `length`; x `[examples, length, 2]`, y `[examples, 1]`.

    The first feature is uniform from 0 to 1; the second is 1 at one step in each half of the sequence, else 0. Who
    always says 1 has a mean squared error of 1/6 (S. Hochreiter and J. Schmidhuber, 1997, experiment 4, in the form of
    Le et al., 2015, arXiv 1504.00941).
    """
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(0, 1, (examples, length))
    marks = np.zeros((examples, length))
    first, second = rng.integers(0, length // 2, examples), rng.integers(length // 2, length, examples)
    marks[np.arange(examples), first] = marks[np.arange(examples), second] = 1
    y = (numbers * marks).sum(1, keepdims=True)
    return np.stack([numbers, marks], 2).astype(np.float32), y.astype(np.float32)


def copy(
    examples: PositiveInt = 2000,
    gap: PositiveInt = 20,
    symbols: Annotated[int, Range(2)] = 4,
    remembered: PositiveInt = 3,
    *,
    seed: int,
):
    """Symbols to be said again after a gap; x one-hot `[examples, time, symbols + 2]`, y a label `[examples, time]`.

    First come the `remembered` symbols, labeled 1 and up, then `gap` steps of the blank 0, whose last one is the sign
    `symbols + 1`, then blanks again, as long as the answer is; all before the answer is blank in y. Who remembers
    nothing has a cross-entropy of `remembered * ln(symbols) / (2 * remembered + gap)` (S. Hochreiter and
    J. Schmidhuber, 1997, in the form of Arjovsky et al., 2016, arXiv 1511.06464).
    """
    rng = np.random.default_rng(seed)
    said = rng.integers(1, symbols + 1, (examples, remembered))
    heard, y = (np.zeros((examples, 2 * remembered + gap), np.int64) for _ in range(2))
    heard[:, :remembered], y[:, -remembered:] = said, said
    heard[:, remembered + gap - 1] = symbols + 1
    return np.eye(symbols + 2, dtype=np.float32)[heard], y
