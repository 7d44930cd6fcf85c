"""How far back in time the error reaches."""

from __future__ import annotations

from typing import Any

import numpy as np

from tftrain.core.types import PlotContext
from tftrain.reporting.plots.style import (
    COLOURS,
    HEIGHT,
    NOT_FINITE,
    WIDTH,
    PlotFigure,
)


def time_lag(scene: PlotContext) -> Any:
    """For sequences the norm of the loss's gradient with respect to each time step, against the lag to the last one.

    With respect to the inputs, and to the states h_t of each recurrent layer, through all that comes after them.
    """
    sequences = {
        name: value
        for name, value in scene.reaching.items()
        if np.ndim(value) == 3
    }
    if not sequences:
        raise ValueError(
            "given a model without sequences; expected inputs, or a layer, of [batch, time, features]"
        )
    steps = max(value.shape[1] for value in sequences.values())
    plot = PlotFigure(
        f"gradient against time lag, step {scene.step}", size=(WIDTH, HEIGHT)
    )
    [axes] = plot.axes
    for place, (name, value) in enumerate(sequences.items()):
        if value.shape[1] == steps:
            _draw_line(
                axes, name, lag_norms(value), COLOURS[place % len(COLOURS)]
            )
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_yscale("log")
    axes.set(
        xlabel="lag: time steps before the last",
        ylabel="gradient norm, mean over the batch",
    )
    axes.grid(True)
    axes.xaxis.get_major_locator().set_params(integer=True)
    plot.figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    return plot.finish()


def lag_norms(gradient: np.ndarray) -> np.ndarray:
    """Of a gradient [batch, time, features] the mean of its norms by lag, 0 for the last time step.

    It is NaN where all are 0. Examples whose norm is 0 are left out, such as those that a mask leaves out there.
    """
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(np.asarray(gradient, np.float64), axis=2)
        return (norms.sum(0) / (norms != 0).sum(0))[::-1]


def _draw_line(axes: Any, name: str, norms: np.ndarray, colour: str) -> None:
    lags = np.arange(len(norms))
    known = np.isfinite(norms)
    share = (
        f", {np.log10(norms[known][-1] / norms[known][0]):+.1f} decades"
        if known.sum() > 1
        else ""
    )
    axes.plot(
        lags,
        np.where(known, norms, np.nan),
        color=colour,
        label=f"{name}{share}",
    )
    bad = np.isinf(norms)
    if bad.any():
        axes.plot(
            lags[bad],
            np.full(bad.sum(), 1.0),
            "x",
            color=NOT_FINITE,
            label="infinite",
        )
