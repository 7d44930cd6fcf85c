"""Reverse mode against central differences, number by number, for each parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Objective
from tftrain.optim.gradients.backprop import dense_or_zeros
from tftrain.optim.gradients.finite_difference import (
    FlatParameters,
    auto_step,
    losses_at,
)

TOLERANCE = 1e-6  # of ||a - b|| / (||a|| + ||b||); differences of smooth functions in float64 come to 1e-8 and less
_NEARER = 64  # times as small is the step of a second look, where a kink within the first one is likely left outside
_ONE_SIDED = 1e-5  # how far a slope of one side may be off by that step, relative to it
_ROUNDINGS = 100  # that may have gone into a loss, each of 2^-52 of it


class GradientComparison(NamedTuple):
    """The gradient of a parameter in two ways, at the elements that were looked at.

    `difference` is ||a - b|| / (||a|| + ||b||) over those that are not near a kink, where the loss has one slope on
    this side of the element and another on that side, so that differences tell nothing. `worst` is the index of the
    element that is furthest apart, `reverse` and `numeric` are its two values. `tiny` says that all of it is below the
    rounding errors of differences.
    """

    name: str
    size: int
    checked: int
    kinks: int
    difference: float
    worst: tuple[int, ...]
    reverse: float
    numeric: float
    agrees: bool
    tiny: bool

    @property
    def compared(self) -> bool:
        """Whether there was a number that is not near a kink."""
        return self.kinks < self.checked


class _Slopes(NamedTuple):
    """Differences of the loss below some elements, above them and across, and how far rounding may have moved them."""

    left: np.ndarray
    right: np.ndarray
    numeric: np.ndarray
    noise: float


def compare(
    objective: Objective,
    batch: Batch,
    names: Sequence[str],
    draw: tuple[int, int],
    preserving: Callable[[], AbstractContextManager],
) -> list[GradientComparison]:
    """Compare each parameter's gradient with differences of the loss, at some of its elements.

    Half of the elements of a larger parameter are drawn from all, half from those whose gradient is not 0. The gradient
    is the one that training takes; while `kept()` lasts what its pass changes in the model is not kept, so that all
    passes draw the same dropout masks. Raises ValueError if the loss is not finite.

    Args:
        objective: the model and its loss.
        batch: the examples.
        names: those of the parameters.
        draw: how many elements of each parameter at most, and the seed that draws them.
        preserving: makes a context in which what a pass changes in the model is not kept.
    """
    samples, seed = draw
    with preserving():
        loss, exact, sizes = _reverse_gradient(objective, batch)
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of the first batch is {loss}, so there is nothing to compare; expected a finite one"
        )
    random, starts = np.random.default_rng(seed), np.cumsum([0, *sizes])
    pieces = [
        exact[start:stop] for start, stop in zip(starts[:-1], starts[1:], strict=True)
    ]
    chosen = [_choose_elements(piece, samples, random) for piece in pieces]
    places = np.concatenate(
        [start + indices for start, indices in zip(starts[:-1], chosen, strict=True)]
    )
    print(
        f"2 x {len(places):,} of {len(exact):,} parameters = {2 * len(places):,} forward passes",
        flush=True,
    )
    reverse, step = exact[places], auto_step("central", tf.float64)
    numeric, noise = _measure_slopes(objective, batch, (places, step), loss)[2:]
    with np.errstate(all="ignore"):
        kinks = (
            np.abs(reverse - numeric)
            > TOLERANCE * (np.abs(reverse) + np.abs(numeric)) + noise
        )
    if kinks.any():
        nearer = _measure_slopes(
            objective, batch, (places[kinks], step / _NEARER), loss
        )
        kinks[kinks] = _has_kink(reverse[kinks], numeric[kinks], nearer)
    parts = [
        np.split(part, np.cumsum([indices.size for indices in chosen])[:-1])
        for part in (reverse, numeric, kinks)
    ]
    shapes = [tuple(param.shape) for param in objective.params]
    rows = zip(names, shapes, chosen, zip(*parts, strict=True), strict=True)
    return [
        _compare_parameter((name, shape), where, values, noise)
        for name, shape, where, values in rows
    ]


def _reverse_gradient(
    objective: Objective, batch: Batch
) -> tuple[float, np.ndarray, list[int]]:
    """The loss, its gradient with respect to all elements, and how many elements each parameter has."""

    def evaluate() -> tuple:
        params = objective.params
        with tf.GradientTape() as tape:
            loss = objective(batch)[0]
        grads = tape.gradient(loss, params)
        return loss, [
            dense_or_zeros(grad, param)
            for grad, param in zip(grads, params, strict=True)
        ]

    loss, grads = tf.function(evaluate, autograph=False)()
    flat = np.concatenate(
        [
            tf.convert_to_tensor(grad).numpy().astype(np.float64).ravel()
            for grad in grads
        ]
    )
    return float(loss), flat, FlatParameters(objective).sizes


def _choose_elements(
    exact: np.ndarray, samples: int, random: np.random.Generator
) -> np.ndarray:
    if exact.size <= samples:
        return np.arange(exact.size)
    nonzero = np.flatnonzero(exact)
    drawn = random.choice(nonzero, min(samples // 2, nonzero.size), replace=False)
    remaining = np.setdiff1d(np.arange(exact.size), drawn)
    return np.sort(
        np.concatenate(
            [drawn, random.choice(remaining, samples - drawn.size, replace=False)]
        )
    )


def _measure_slopes(
    objective: Objective, batch: Batch, moves: tuple[np.ndarray, float], loss: float
) -> _Slopes:
    """The slopes at these places by this step."""
    places, step = moves

    def sides() -> list:
        elements, where = FlatParameters(objective), tf.constant(places, tf.int32)
        return [
            losses_at(elements, where, size, (batch, ()))[1] for size in (step, -step)
        ]

    above, below = (losses.numpy() for losses in tf.function(sides, autograph=False)())
    noise = _ROUNDINGS * 2.0**-52 * max(abs(loss), np.abs(above).max()) / step
    return _Slopes(
        (loss - below) / step,
        (above - loss) / step,
        (above - below) / (2 * step),
        noise,
    )


def _has_kink(reverse: np.ndarray, numeric: np.ndarray, nearer: _Slopes) -> np.ndarray:
    """Where the loss has a kink: by a smaller step its slope is another one, or its two sides have two.

    The derivative is then the slope of one side, or lies between them; where there is but one slope, it is that one.
    """
    left, right = nearer.left, nearer.right
    slack = _ONE_SIDED * (np.abs(left) + np.abs(right)) + nearer.noise
    between = (reverse >= np.minimum(left, right) - slack) & (
        reverse <= np.maximum(left, right) + slack
    )
    bent = (
        np.abs(right - left) + np.abs(nearer.numeric - numeric)
        >= np.abs(reverse - numeric) / 2
    )
    return between & bent


def _compare_parameter(
    parameter: tuple[str, tuple[int, ...]],
    places: np.ndarray,
    values: tuple[np.ndarray, ...],
    noise: float,
) -> GradientComparison:
    (name, shape), (reverse, numeric, kinks) = parameter, values
    with np.errstate(all="ignore"):
        smooth, apart = ~kinks, np.abs(reverse - numeric)
        a, b, c = (
            float(np.linalg.norm(vector[smooth]))
            for vector in (reverse, numeric, apart)
        )
    allowed = noise * np.sqrt(smooth.sum())
    worst = int(np.argmax(np.where(smooth, apart, -1)))
    where = tuple(int(axis) for axis in np.unravel_index(places[worst], shape))
    return GradientComparison(
        name=name,
        size=math.prod(shape),
        checked=places.size,
        kinks=int(kinks.sum()),
        difference=0.0 if a + b == 0 else c / (a + b),
        worst=where,
        reverse=float(reverse[worst]),
        numeric=float(numeric[worst]),
        agrees=bool(c <= TOLERANCE * (a + b) + allowed),
        tiny=bool(smooth.any() and a + b <= allowed),
    )
