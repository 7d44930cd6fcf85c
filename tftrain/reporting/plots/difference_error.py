"""How well differences of the loss tell its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tftrain.config.field_types import PositiveInt
from tftrain.core.types import PlotContext
from tftrain.reporting.plots.style import (
    BLUE,
    HEIGHT,
    ORANGE,
    WIDTH,
    PlotFigure,
    format_short,
)

_STEPS = 2.0 ** -np.arange(0, 23, 2.0)
# The order of the error, from Taylor's theorem.
_SLOPES = {"central": 2, "one-sided": 1}


def difference_error(scene: PlotContext, samples: PositiveInt = 20) -> Any:
    """Draw the relative error of central and one-sided differences against the step.

    Back-propagation is taken as right. To the right is the error of the differences
    themselves, of the order of step^2 and step; to the left is the error of rounding,
    which grows as the step shrinks.

    Args:
        scene: the run at this step.
        samples: number of weights to compare, spread over all parameters.
    """
    errors = difference_errors(scene, samples)
    if errors is None:
        return None
    plot = PlotFigure(
        f"error of differences of the loss, step {scene.step}",
        size=(WIDTH, HEIGHT),
    )
    [axes] = plot.axes
    for (name, relative_errors), colour in zip(
        errors.items(), (BLUE, ORANGE), strict=True
    ):
        if not np.isfinite(relative_errors).any():
            continue
        best = int(np.nanargmin(relative_errors))
        smallest = format_short(relative_errors[best])
        label = (
            f"{name}: least {smallest}, at {format_short(_STEPS[best])};"
            f" dotted: of order {_SLOPES[name]}"
        )
        axes.plot(
            _STEPS,
            np.where(relative_errors > 0, relative_errors, np.nan),
            color=colour,
            marker="o",
            markersize=4,
            label=label,
        )
        slope = _SLOPES[name]
        guide = relative_errors[1] * (_STEPS / _STEPS[1]) ** slope
        axes.plot(
            _STEPS[: best + 1],
            guide[: best + 1],
            color=colour,
            linewidth=0.9,
            linestyle=":",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="step of the differences",
        ylabel="relative error of the gradient",
    )
    drawn = np.concatenate([*errors.values()])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    if drawn.size:
        axes.set_ylim(drawn.min() / 3, drawn.max() * 3)
    axes.grid(True)
    plot.figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=1,
        frameon=False,
    )
    return plot.finish()


def difference_errors(
    scene: PlotContext, samples: int
) -> dict[str, np.ndarray] | None:
    """Return the relative error of both kinds of differences, each [steps]; None without a gradient to compare.

    Args:
        scene: the run at this step.
        samples: number of weights to compare, spread over all parameters.
    """
    flat = _flatten_all(scene.params)
    grad = _flat_gradient(scene)
    known = np.flatnonzero(np.isfinite(grad))
    if not grad[known].any():
        return None
    places = known[
        np.unique(np.linspace(0, known.size - 1, samples).round().astype(int))
    ]
    exact = grad[places]
    middle = scene.loss(scene.params)
    errors_by_kind = {name: [] for name in _SLOPES}
    for step in _STEPS:
        up, down = (
            (flat[places] + side).astype(flat.dtype) for side in (step, -step)
        )
        above, below = (
            _moved_losses(scene, flat, places, values) for values in (up, down)
        )
        with np.errstate(
            all="ignore"
        ):  # a step may be too small to move a large parameter
            central = (above - below) / (up.astype(np.float64) - down)
            forward = (above - middle) / (up.astype(np.float64) - flat[places])
            for name, differences in (
                ("central", central),
                ("one-sided", forward),
            ):
                errors_by_kind[name].append(
                    np.linalg.norm(differences - exact) / np.linalg.norm(exact)
                )
    return {name: np.array(errors) for name, errors in errors_by_kind.items()}


def _flatten_all(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays])


def _flat_gradient(scene: PlotContext) -> np.ndarray:
    """All of it in float64, NaN where the loss does not reach."""
    grads = [
        np.full(param.shape, np.nan) if grad is None else grad
        for param, grad in zip(scene.params, scene.passes.grads, strict=True)
    ]
    if any(
        grad.shape != param.shape
        for param, grad in zip(scene.params, grads, strict=True)
    ):
        raise ValueError(
            "given a model with sparse gradients, such as an embedding's; expected dense ones"
        )
    return _flatten_all(grads).astype(np.float64)


def _moved_losses(
    scene: PlotContext, flat: np.ndarray, places: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The loss with one number after the other changed, [places]."""
    losses = []
    ends = np.cumsum([param.size for param in scene.params])[:-1]
    for place, value in zip(places, values, strict=True):
        moved = flat.copy()
        moved[place] = value
        pieces = zip(np.split(moved, ends), scene.params, strict=True)
        losses.append(
            scene.loss([piece.reshape(param.shape) for piece, param in pieces])
        )
    return np.array(losses)
