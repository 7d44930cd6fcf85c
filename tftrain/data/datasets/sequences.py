"""Series of numbers, to be continued; drawn from the run's seed."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from tftrain.config.field_types import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Range,
)

PERIODS = (
    12.5,
    31.0,
    77.0,
)  # of `series`, in time steps; no two have a common beat
STORMS = (
    0.02,
    0.2,
)  # the noise of its calm and of its stormy regime, as standard deviations
CHANGE = 0.05  # the chance that its regime changes, at each time step


def sine(
    examples: PositiveInt = 500,
    length: PositiveInt = 100,
    period: PositiveFloat = 25.0,
    noise: NonNegativeFloat = 0.1,
    targets: Literal["last", "each"] = "last",
    *,
    seed: int,
):
    """Windows of a sine of amplitude 1, each from a phase of its own: x `[examples, length, 1]`, y the next value.

    `length` and `period` are in time steps, `noise` is the standard deviation of what is added to every value, the
    targets' too, so that no mean squared error is below its square. With targets of `each` step y is
    `[examples, length, 1]`: the value after each.

    Args:
        examples: how many windows.
        length: time steps of a window.
        period: time steps.
        noise: the standard deviation of what is added to every value, the targets' too.
        targets: the value after the `last` step, or after `each`.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (examples, 1))
    values = np.sin(2 * np.pi * np.arange(length + 1) / period + phase)
    return _as_inputs_and_targets(
        values + rng.normal(0, noise, values.shape), targets
    )


def series(
    examples: PositiveInt = 500,
    length: PositiveInt = 100,
    targets: Literal["last", "each"] = "last",
    *,
    seed: int,
):
    """Windows of a harder series: three periods (12.5, 31 and 77 steps), a trend, and noise that is calm or stormy.

    Shapes and targets are as of `sine`; phases, amplitudes and the trend's slope are drawn for each window. The noise
    has a standard deviation of 0.02 or of 0.2, and changes from one to the other 5 times in 100 steps on average.

    Args:
        examples: how many windows.
        length: time steps of a window.
        targets: the value after the `last` step, or after `each`.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(length + 1)
    values = rng.normal(0, 1, (examples, 1)) * time / length
    for period in PERIODS:
        phase, amplitude = (
            rng.uniform(0, 2 * np.pi, (examples, 1)),
            rng.uniform(0.3, 1, (examples, 1)),
        )
        values = values + amplitude * np.sin(2 * np.pi * time / period + phase)
    changes = rng.random(values.shape) < CHANGE
    stormy = (rng.integers(0, 2, (examples, 1)) + np.cumsum(changes, 1)) % 2
    return _as_inputs_and_targets(
        values + rng.normal(0, 1, values.shape) * np.array(STORMS)[stormy],
        targets,
    )


def series_stream(
    lanes: PositiveInt = 16, length: PositiveInt = 1000, *, seed: int
):
    """One long `series`, cut into parallel lanes: x `[lanes, length, 1]`, y `[lanes, length, 1]`, the value after each.

    With `batch_size: full` and an update for each window a recurrent model goes along all lanes at once, and its
    states start anew only where an epoch does.

    Args:
        lanes: how many.
        length: time steps of a lane.
        seed: of the draw.
    """
    return tuple(
        part.reshape(lanes, length, 1)
        for part in series(1, lanes * length, "each", seed=seed)
    )


def _as_inputs_and_targets(
    values: np.ndarray, targets: str
) -> tuple[np.ndarray, np.ndarray]:
    """Values `[examples, length + 1]` as x and y."""
    values = values.astype(np.float32)[:, :, np.newaxis]
    return values[:, :-1], values[:, 1:] if targets == "each" else values[:, -1]


def adding(
    examples: PositiveInt = 2000,
    length: Annotated[int, Range(2)] = 50,
    *,
    seed: int,
):
    """The sum of two marked numbers out of `length`; x `[examples, length, 2]`, y `[examples, 1]`.

    The first feature is uniform from 0 to 1; the second is 1 at one step in each half of the sequence, else 0. Who
    always says 1 has a mean squared error of 1/6 (S. Hochreiter and J. Schmidhuber, 1997, experiment 4, in the form of
    Le et al., 2015, arXiv 1504.00941).

    Args:
        examples: how many sequences.
        length: time steps.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(0, 1, (examples, length))
    marks = np.zeros((examples, length))
    first, second = (
        rng.integers(0, length // 2, examples),
        rng.integers(length // 2, length, examples),
    )
    marks[np.arange(examples), first] = marks[np.arange(examples), second] = 1
    y = (numbers * marks).sum(1, keepdims=True)
    return np.stack([numbers, marks], 2).astype(np.float32), y.astype(
        np.float32
    )


def copy(
    examples: PositiveInt = 2000,
    gap: PositiveInt = 20,
    symbols: Annotated[int, Range(2)] = 4,
    symbols_to_copy: PositiveInt = 3,
    *,
    seed: int,
):
    """Symbols to be said again after a gap; x one-hot `[examples, time, symbols + 2]`, y a label `[examples, time]`.

    First come the `symbols_to_copy` symbols, labeled 1 and up, then `gap` steps of the blank 0, whose last one is the
    sign `symbols + 1`, then blanks again, as long as the answer is; all before the answer is blank in y. Who remembers
    nothing has a cross-entropy of `symbols_to_copy * ln(symbols) / (2 * symbols_to_copy + gap)` (S. Hochreiter and
    J. Schmidhuber, 1997, in the form of Arjovsky et al., 2016, arXiv 1511.06464).

    Args:
        examples: how many sequences.
        gap: time steps between the symbols and the answer.
        symbols: how many different ones.
        symbols_to_copy: how many symbols are to be copied.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    answer = rng.integers(1, symbols + 1, (examples, symbols_to_copy))
    heard, y = (
        np.zeros((examples, 2 * symbols_to_copy + gap), np.int64)
        for _ in range(2)
    )
    heard[:, :symbols_to_copy], y[:, -symbols_to_copy:] = answer, answer
    heard[:, symbols_to_copy + gap - 1] = symbols + 1
    return np.eye(symbols + 2, dtype=np.float32)[heard], y
