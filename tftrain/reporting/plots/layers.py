"""Gradient norms by layer, as they were logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tftrain.config.field_types import PositiveInt
from tftrain.core.types import PlotContext
from tftrain.reporting.plots.style import (
    BLUE,
    HEIGHT,
    NOT_FINITE,
    ORANGE,
    WIDTH,
    ZERO,
    PlotFigure,
)
from tftrain.runtime.working_directory import import_matplotlib

RAW = "grad_norm"
CLIPPED = "clipped_grad_norm"
_MOST_LABELS = 30
_SUMS = (
    "Dense",
    "EinsumDense",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "SimpleRNN",
    "GRU",
    "LSTM",
)
_MOST_COLUMNS = 600  # of the map


def gradient_map(scene: PlotContext) -> Any:
    """Draw, by layer and step, log10 of the gradient norm, the first layer at the top.

    Black is exactly zero, magenta not finite.
    """
    steps, norms = _layer_norms(scene, RAW)
    if not len(steps):
        return None
    plot = PlotFigure(
        f"log10 of the gradient norm, step {scene.step}", size=(7.2, HEIGHT)
    )
    [axes] = plot.axes
    stride = -(-len(steps) // _MOST_COLUMNS)
    cells, low, high = _log_norms(norms[::stride])
    matplotlib = import_matplotlib()

    colours = matplotlib.colormaps["viridis"].with_extremes(
        under=ZERO, bad=NOT_FINITE
    )
    edges = (
        np.concatenate([[0], steps[::stride]])
        if steps[0] > 0
        else np.append(steps[::stride], steps[-1] + 1)
    )
    rows = np.arange(norms.shape[1] + 1) - 0.5
    mesh = axes.pcolormesh(
        edges, rows, cells.T, cmap=colours, vmin=low, vmax=high
    )
    axes.set_xlabel("step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    _name_layers(axes.yaxis, scene)
    axes.invert_yaxis()  # the first layer at the top, as in the Gradients tab and in reports
    plot.figure.colorbar(mesh, pad=0.02)
    _add_colour_legend(axes, norms)
    return plot.finish()


def gradient_flow(scene: PlotContext, lines: PositiveInt = 5) -> Any:
    """Draw the gradient norm from the first layer to the last: now, after the clips, and at earlier steps.

    Args:
        scene: the run at this step.
        lines: number of earlier steps to draw, denser near the start.
    """
    steps, norms = _layer_norms(scene, RAW)
    if not len(steps):
        return None
    matplotlib = import_matplotlib()

    plot = PlotFigure(f"gradient flow, step {scene.step}", size=(WIDTH, HEIGHT))
    [axes] = plot.axes
    earlier = np.unique(
        np.geomspace(1, len(steps), lines + 1).round().astype(int) - 1
    )[:-1]
    colours = matplotlib.colormaps["viridis"](
        np.linspace(0.0, 0.9, max(1, len(earlier)))
    )
    for colour, place in zip(colours, earlier, strict=False):
        axes.plot(
            _positive_or_nan(norms[place]),
            color=colour,
            linewidth=1.1,
            alpha=0.8,
            label=f"step {steps[place]}",
        )
    axes.plot(
        _positive_or_nan(norms[-1]),
        color=BLUE,
        linewidth=2.6,
        marker="o",
        markersize=5,
        label=f"step {steps[-1]}",
    )
    clipped_norms = _layer_norms(scene, CLIPPED)[1]
    if len(clipped_norms) and not np.array_equal(
        clipped_norms[-1], norms[-1], equal_nan=True
    ):
        axes.plot(
            _positive_or_nan(clipped_norms[-1]),
            color=ORANGE,
            linewidth=2.2,
            linestyle="--",
            marker="o",
            label="clipped",
        )
    if len(axes.lines) and any(
        np.isfinite(line.get_ydata()).any() for line in axes.lines
    ):
        axes.set_yscale("log")
    _mark_unplottable(axes, norms[-1], BLUE)
    axes.set_ylabel("gradient norm")
    axes.grid(True)
    _name_layers(
        axes.xaxis, scene, rotation=30, ha="right", rotation_mode="anchor"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return plot.finish()


def signal_flow(scene: PlotContext) -> Any:
    """Draw the size of each layer's output on the way forward and of its error term delta on the way back.

    Of the first training batch: the standard deviation of a, and the root mean square of delta, the gradient of the
    loss with respect to what a layer's activation function gets (X. Glorot and Y. Bengio, 2010, draw the like).
    """
    signals: list[tuple[str, float, float]] = []
    for layer in scene.passes.layers:
        if layer.kind in _SUMS and layer.delta is not None:
            signals.append(
                (
                    layer.name,
                    _standard_deviation(layer.a),
                    _root_mean_square(layer.delta),
                )
            )
        elif signals and layer.function is not None:
            # An activation that is a separate layer.
            signals[-1] = (
                signals[-1][0],
                _standard_deviation(layer.a),
                signals[-1][2],
            )
    if not signals:
        return None
    names, ahead, back = zip(*signals, strict=True)
    plot = PlotFigure(f"signal flow, step {scene.step}", size=(WIDTH, HEIGHT))
    [axes] = plot.axes
    for values, colour, label in (
        (ahead, BLUE, "forward: std of a"),
        (back, ORANGE, r"back: size of $\delta$"),
    ):
        axes.plot(
            _positive_or_nan(np.array(values)),
            color=colour,
            marker="o",
            markersize=5,
            label=label,
        )
        _mark_unplottable(axes, np.array(values), colour)
    axes.set_yscale("log")
    axes.grid(True)
    _name_ticks(
        axes.xaxis, names, rotation=30, ha="right", rotation_mode="anchor"
    )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return plot.finish()


def _standard_deviation(values: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.std(values.astype(np.float64)))


def _root_mean_square(values: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


def layer_names(names: list[str]) -> list[str]:
    """Return the layers of parameters, each once and in order."""
    return list(dict.fromkeys(name.rpartition("/")[0] for name in names))


def _layer_norms(
    scene: PlotContext, scalar: str
) -> tuple[np.ndarray, np.ndarray]:
    """The steps of the points so far, and at each the norm of each layer's gradient, [points, layers]."""
    known = [
        name for name in scene.names if f"{scalar}/{name}" in scene.history
    ]
    if not known:
        return np.empty(0, int), np.empty((0, 0))
    layers = layer_names(known)
    steps = scene.history[f"{scalar}/{known[0]}"][0]
    squares = np.zeros((len(steps), len(layers)))
    with np.errstate(all="ignore"):
        for name in known:
            squares[:, layers.index(name.rpartition("/")[0])] += np.square(
                scene.history[f"{scalar}/{name}"][1]
            )
        return steps, np.sqrt(squares)


def _log_norms(norms: np.ndarray) -> tuple[np.ma.MaskedArray, float, float]:
    """log10 of the norms, masked where these are not finite and below the lowest where they are 0; and its range."""
    known = np.isfinite(norms) & (norms > 0)
    logarithms = np.log10(norms, where=known, out=np.zeros_like(norms))
    low, high = (
        (float(logarithms[known].min()), float(logarithms[known].max()))
        if known.any()
        else (0.0, 1.0)
    )
    high = max(high, low + 0.1)
    return (
        np.ma.array(
            np.where(norms == 0, low - 1, logarithms), mask=~np.isfinite(norms)
        ),
        low,
        high,
    )


def _positive_or_nan(norms: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)


def _mark_unplottable(axes: Any, values: np.ndarray, colour: str) -> None:
    """What a logarithmic axis has no place for: zeros at the bottom, and what is not finite at the top."""
    marks = (
        ("exactly 0", values == 0, 0.02, "v", colour),
        ("NaN or Inf", ~np.isfinite(values), 0.98, "x", NOT_FINITE),
    )
    for label, is_marked, height, marker, marker_colour in marks:
        if is_marked.any():
            places = np.flatnonzero(is_marked)
            across = axes.get_xaxis_transform()
            style = {
                "linestyle": "",
                "marker": marker,
                "color": marker_colour,
                "markersize": 7,
                "label": label,
            }
            axes.plot(
                places,
                np.full(len(places), height),
                transform=across,
                clip_on=False,
                **style,
            )


def _name_layers(axis: Any, scene: PlotContext, **style: Any) -> None:
    _name_ticks(axis, layer_names(scene.names), **style)


def _name_ticks(axis: Any, layers: Sequence[str], **style: Any) -> None:
    stride = -(-len(layers) // _MOST_LABELS)
    short_names = [
        name if len(name) <= 22 else f"{name[:4]}..{name[-16:]}"
        for name in layers[::stride]
    ]
    axis.set_ticks(
        range(0, len(layers), stride),
        short_names,
        fontsize=9 if len(layers) <= 20 else 7,
        **style,
    )


def _add_colour_legend(axes: Any, norms: np.ndarray) -> None:
    from matplotlib.patches import Patch

    meanings = [
        ("zero", ZERO, (norms == 0).any()),
        ("NaN or Inf", NOT_FINITE, (~np.isfinite(norms)).any()),
    ]
    patches = [
        Patch(color=colour, label=label)
        for label, colour, occurs in meanings
        if occurs
    ]
    if patches:
        axes.legend(
            handles=patches,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=2,
            frameon=False,
        )
