"""Where in the plane a model says what."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from tftrain.config.field_types import PositiveInt, Range
from tftrain.core.types import PlotContext
from tftrain.reporting.plots.style import (
    COLOURS,
    NOT_FINITE,
    PlotFigure,
    diverging_colormap,
    format_short,
)

_DOTS = {0: "#005b96", 1: "#c45100"}  # darker than what they lie on
_MARGIN = 0.15  # of the points' extent, left around them


def decision_map(
    scene: PlotContext,
    points: PositiveInt = 1000,
    resolution: Annotated[int, Range(2, 1000)] = 200,
) -> Any:
    """Draw the model's output over the plane of its 2 inputs, with training points on it.

    For two classes it is the probability of class 1; for more, the region of each, paler
    where the model is less sure; for a regression the last output.

    Args:
        scene: the run at this step.
        points: number of training examples to draw.
        resolution: points of the grid along each axis.

    Raises:
        ValueError: the model's input is not one pair of numbers.
    """
    examples = scene.examples(points)
    x = _plane_inputs(examples.x)
    low = np.nanmin(x, 0)
    high = np.nanmax(x, 0)
    margin = _MARGIN * np.where(high > low, high - low, 1)
    extent = [
        low[0] - margin[0],
        high[0] + margin[0],
        low[1] - margin[1],
        high[1] + margin[1],
    ]
    across = np.linspace(*extent[:2], resolution)
    up = np.linspace(*extent[2:], resolution)
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2).astype(x.dtype)
    outputs = np.asarray(scene.predict(grid), np.float64).reshape(
        resolution, resolution, -1
    )
    plot = PlotFigure(f"decision map, step {scene.step}", size=(6.0, 5.0))
    [axes] = plot.axes
    labels = _class_labels(examples.y, scene.facts.classes)
    if labels is None:
        _draw_outputs(
            plot,
            outputs,
            (across, up),
            (x, np.reshape(examples.y, (len(x), -1))),
        )
    else:
        if outputs.shape[2] > 2:
            _draw_regions(axes, outputs, extent)
        else:
            _draw_surface(plot, outputs[:, :, -1], (across, up))
        _draw_dots(
            axes,
            x,
            labels,
            _class_colours(max(outputs.shape[2], labels.max() + 1)),
        )
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="x[0]", ylabel="x[1]")
    return plot.finish()


def _plane_inputs(x: Any) -> np.ndarray:
    shape = list(x.shape[1:]) if hasattr(x, "shape") else None
    if shape != [2]:
        inputs = (
            f"a model with inputs of the shape {shape}"
            if shape
            else "a model with several inputs"
        )
        raise ValueError(
            f"given {inputs}; expected 2 numbers for each example, which span the plane"
        )
    return np.asarray(x)


def _class_labels(y: Any, classes: int | None) -> np.ndarray | None:
    """The class of each example; None where the targets are no classes."""
    if classes is None:
        return None
    y = np.asarray(y)
    is_one_hot = y.ndim == 2 and y.shape[1] > 1
    if is_one_hot:
        return y.argmax(1)
    return y.reshape(-1).astype(int)


def _draw_surface(
    plot: PlotFigure, values: np.ndarray, grid: tuple[np.ndarray, np.ndarray]
) -> None:
    [axes] = plot.axes
    finite = values[np.isfinite(values)]
    axes.set_facecolor(NOT_FINITE)  # which a smooth surface leaves out
    style = {
        "cmap": diverging_colormap(pale=True),
        "shading": "gouraud",
        "vmin": 0.0,
        "vmax": 1.0,
    }
    mesh = axes.pcolormesh(*grid, np.ma.masked_invalid(values), **style)
    if finite.size and finite.min() < 0.5 < finite.max():
        axes.contour(*grid, values, [0.5], colors="#333333", linewidths=1.5)
    label = (
        f"probability of class 1, from {format_short(finite.min())} to {format_short(finite.max())}"
        if finite.size
        else "NaN"
    )
    plot.figure.colorbar(mesh, label=label, pad=0.02)


def _draw_outputs(
    plot: PlotFigure,
    outputs: np.ndarray,
    grid: tuple[np.ndarray, np.ndarray],
    points: tuple,
) -> None:
    """Of a regression the last output, and in each point its target, in one scale of colours."""
    [axes] = plot.axes
    values, (x, targets) = outputs[:, :, -1], points
    all_values = np.concatenate([values.ravel(), targets[:, -1]])
    all_values = all_values[np.isfinite(all_values)]
    limits = (
        {"vmin": float(all_values.min()), "vmax": float(all_values.max())}
        if all_values.size
        else {}
    )
    axes.set_facecolor(NOT_FINITE)
    mesh = axes.pcolormesh(
        *grid,
        np.ma.masked_invalid(values),
        cmap="viridis",
        shading="gouraud",
        **limits,
    )
    axes.scatter(
        *x.T,
        c=targets[:, -1],
        s=_dot_size(x),
        cmap="viridis",
        edgecolors="white",
        linewidths=0.7,
        **limits,
    )
    label = (
        "output"
        if outputs.shape[2] == 1
        else f"the last of {outputs.shape[2]} outputs"
    )
    plot.figure.colorbar(
        mesh, label=f"{label}; in the points their targets", pad=0.02
    )


def _class_colours(count: int) -> list[str]:
    """Ours, or where these are too few for so many classes those of Matplotlib's tab20."""
    if count <= len(COLOURS):
        return [*COLOURS]
    from matplotlib import colormaps, colors

    return [colors.to_hex(colour) for colour in colormaps["tab20"].colors]


def _draw_regions(axes: Any, outputs: np.ndarray, extent: list[float]) -> None:
    from matplotlib.colors import to_rgb

    palette = _class_colours(outputs.shape[2])
    colours = np.array(
        [
            to_rgb(palette[index % len(palette)])
            for index in range(outputs.shape[2])
        ]
    )
    winner = outputs.argmax(2)
    chance = 1 / outputs.shape[2]
    confidence = np.clip((outputs.max(2) - chance) / (1 - chance), 0, 1)[
        :, :, np.newaxis
    ]
    strength = 0.12 + 0.5 * np.nan_to_num(confidence)
    pixels = np.where(
        np.isfinite(outputs).all(2)[:, :, np.newaxis],
        1 - strength * (1 - colours[winner]),
        [1.0, 0, 1.0],
    )
    axes.imshow(
        pixels,
        origin="lower",
        extent=extent,
        aspect="auto",
        interpolation="nearest",
    )


def _dot_size(x: np.ndarray) -> float:
    return float(np.clip(4000 / len(x), 10, 70))


def _draw_dots(
    axes: Any, x: np.ndarray, labels: np.ndarray, palette: list[str]
) -> None:
    own_palette = len(palette) == len(COLOURS)
    for label in np.unique(labels):
        members = x[labels == label]
        palette_colour = palette[label % len(palette)]
        colour = (
            _DOTS.get(int(label), palette_colour)
            if own_palette
            else palette_colour
        )
        axes.scatter(
            *members.T,
            s=_dot_size(x),
            c=colour,
            edgecolors="white",
            linewidths=0.7,
            label=f"class {label}",
            zorder=3,
        )
    if len(np.unique(labels)) > 1:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=4,
            handletextpad=0.2,
            columnspacing=1.2,
        )
