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

# Of ||a - b|| / (||a|| + ||b||); for smooth functions in float64 it is 1e-8 and less.
TOLERANCE = 1e-6
# Where the two differ, the slopes are measured again with a step so many times smaller, which likely leaves a kink out.
_STEP_RATIO = 64
# The relative error of a one-sided slope by that step.
_ONE_SIDED_ERROR = 1e-5
# So many roundings, each of 2^-52 of it, may have gone into a loss.
_ROUNDINGS = 100


class GradientComparison(NamedTuple):
    """The gradient of a parameter in two ways, at the elements that were checked.

    `difference` is ||a - b|| / (||a|| + ||b||) over the elements that are not near a kink. At a kink the loss has one
    slope on this side of the element and another on that side, so that differences tell nothing. `worst` is the index
    of the element that is furthest apart, `reverse` and `numeric` are its two values. `tiny` says that all of it is
    below the rounding errors of differences.
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
    is the one that training takes; what its pass changes in the model is undone by `preserving`, so that all passes
    draw the same dropout masks.

    Args:
        objective: the model and its loss.
        batch: the examples.
        names: those of the parameters.
        draw: how many elements of each parameter at most, and the seed that draws them.
        preserving: makes a context in which what a pass changes in the model is not kept.

    Raises:
        ValueError: the loss is not finite.
    """
    samples, seed = draw
    with preserving():
        loss, exact, sizes = _reverse_gradient(objective, batch)
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of the first batch is {loss}, so there is nothing to compare; expected a finite one"
        )
    random = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    grads = np.split(exact, ends[:-1])
    chosen = [_choose_elements(grad, samples, random) for grad in grads]
    places = np.concatenate(
        [
            end - size + elements
            for end, size, elements in zip(ends, sizes, chosen, strict=True)
        ]
    )
    count = len(places)
    print(
        f"2 x {count:,} of {len(exact):,} parameters = {2 * count:,} forward passes",
        flush=True,
    )
    reverse = exact[places]
    slopes, kinks = _measure_numeric(objective, batch, places, reverse, loss)

    comparisons = []
    start = 0
    for name, param, elements in zip(
        names, objective.params, chosen, strict=True
    ):
        part = slice(start, start + elements.size)
        start = part.stop
        comparisons.append(
            _compare_parameter(
                (name, tuple(param.shape)),
                elements,
                (reverse[part], slopes.numeric[part], kinks[part]),
                slopes.noise,
            )
        )
    return comparisons


def _measure_numeric(
    objective: Objective,
    batch: Batch,
    places: np.ndarray,
    reverse: np.ndarray,
    loss: float,
) -> tuple[_Slopes, np.ndarray]:
    """Return the slopes at these places, and at which of them the loss has a kink."""
    step = auto_step("central", tf.float64)
    slopes = _measure_slopes(objective, batch, (places, step), loss)
    numeric = slopes.numeric
    with np.errstate(all="ignore"):
        allowed = TOLERANCE * (np.abs(reverse) + np.abs(numeric)) + slopes.noise
        differs = np.abs(reverse - numeric) > allowed
    kinks = differs.copy()
    if differs.any():
        moves = (places[differs], step / _STEP_RATIO)
        nearer = _measure_slopes(objective, batch, moves, loss)
        kinks[differs] = _has_kink(reverse[differs], numeric[differs], nearer)
    return slopes, kinks


def _reverse_gradient(
    objective: Objective, batch: Batch
) -> tuple[float, np.ndarray, list[int]]:
    """Return the loss, its gradient with respect to all elements, and how many elements each parameter has."""

    def evaluate() -> tuple:
        params = objective.params
        with tf.GradientTape() as tape:
            loss = objective(batch)[0]
        grads = tape.gradient(loss, params)
        dense = [
            tf.convert_to_tensor(dense_or_zeros(*pair))
            for pair in zip(grads, params, strict=True)
        ]
        return loss, dense

    loss, grads = tf.function(evaluate, autograph=False)()
    vectors = [grad.numpy().astype(np.float64).ravel() for grad in grads]
    return float(loss), np.concatenate(vectors), FlatParameters(objective).sizes


def _choose_elements(
    exact: np.ndarray, samples: int, random: np.random.Generator
) -> np.ndarray:
    if exact.size <= samples:
        return np.arange(exact.size)
    nonzero = np.flatnonzero(exact)
    drawn = random.choice(
        nonzero, min(samples // 2, nonzero.size), replace=False
    )
    remaining = np.setdiff1d(np.arange(exact.size), drawn)
    others = random.choice(remaining, samples - drawn.size, replace=False)
    return np.sort(np.concatenate([drawn, others]))


def _measure_slopes(
    objective: Objective,
    batch: Batch,
    moves: tuple[np.ndarray, float],
    loss: float,
) -> _Slopes:
    """Return the slopes at these places by this step."""
    places, step = moves

    def both_sides() -> list:
        elements = FlatParameters(objective)
        indices = tf.constant(places, tf.int32)
        _, above = losses_at(elements, indices, step, (batch, ()))
        _, below = losses_at(elements, indices, -step, (batch, ()))
        return [above, below]

    above, below = tf.function(both_sides, autograph=False)()
    above = above.numpy()
    below = below.numpy()
    largest = max(abs(loss), np.abs(above).max())
    noise = _ROUNDINGS * 2.0**-52 * largest / step
    return _Slopes(
        (loss - below) / step,
        (above - loss) / step,
        (above - below) / (2 * step),
        noise,
    )


def _has_kink(
    reverse: np.ndarray, numeric: np.ndarray, nearer: _Slopes
) -> np.ndarray:
    """Return where the loss has a kink: its two sides differ in slope, or a smaller step gives another slope.

    The derivative is then the slope of one side, or lies between them. Where there is one slope only, it is that one.
    """
    left = nearer.left
    right = nearer.right
    slack = _ONE_SIDED_ERROR * (np.abs(left) + np.abs(right)) + nearer.noise
    lowest = np.minimum(left, right) - slack
    highest = np.maximum(left, right) + slack
    is_between = (reverse >= lowest) & (reverse <= highest)
    bend = np.abs(right - left) + np.abs(nearer.numeric - numeric)
    is_bent = bend >= np.abs(reverse - numeric) / 2
    return is_between & is_bent


def _compare_parameter(
    parameter: tuple[str, tuple[int, ...]],
    places: np.ndarray,
    values: tuple[np.ndarray, ...],
    noise: float,
) -> GradientComparison:
    name, shape = parameter
    reverse, numeric, kinks = values
    smooth = ~kinks
    with np.errstate(all="ignore"):
        gaps = np.abs(reverse - numeric)
        gap_norm = float(np.linalg.norm(gaps[smooth]))
        reverse_norm = float(np.linalg.norm(reverse[smooth]))
        numeric_norm = float(np.linalg.norm(numeric[smooth]))
    norm_sum = reverse_norm + numeric_norm
    allowed = noise * np.sqrt(smooth.sum())
    worst = int(np.argmax(np.where(smooth, gaps, -1)))
    index = np.unravel_index(places[worst], shape)
    return GradientComparison(
        name=name,
        size=math.prod(shape),
        checked=places.size,
        kinks=int(kinks.sum()),
        difference=0.0 if norm_sum == 0 else gap_norm / norm_sum,
        worst=tuple(map(int, index)),
        reverse=float(reverse[worst]),
        numeric=float(numeric[worst]),
        agrees=bool(gap_norm <= TOLERANCE * norm_sum + allowed),
        tiny=bool(smooth.any() and norm_sum <= allowed),
    )
