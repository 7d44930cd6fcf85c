"""Where in the plane a model says what."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from tftrain.core.types import Scene
from tftrain.pictures.style import COLOURS, NOT_FINITE, Sheet, diverging, short
from tftrain.values import PositiveInt, Range

_DOTS = {0: "#005b96", 1: "#c45100"}  # darker than what they lie on
_MARGIN = 0.15  # of the points' extent, left around them


def decision_map(scene: Scene, points: PositiveInt = 1000, resolution: Annotated[int, Range(2, 1000)] = 200) -> Any:
    """What the model gives over the plane of its 2 inputs, with so many training `points`.

    Of two classes the probability of class 1; of more each one's region, paler where the model is less sure.
    """
    examples = scene.examples(points)
    x = _plane(examples.x)
    low, high = np.nanmin(x, 0), np.nanmax(x, 0)
    margin = _MARGIN * np.where(high > low, high - low, 1)
    extent = [low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1]]
    across, up = np.linspace(*extent[:2], resolution), np.linspace(*extent[2:], resolution)
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2).astype(x.dtype)
    found = np.asarray(scene.predict(grid), np.float64).reshape(resolution, resolution, -1)
    sheet = Sheet(f"decision map, step {scene.step}", size=(6.0, 5.0))
    [axes] = sheet.axes
    labels = _labels(examples.y, scene.facts.classes)
    if labels is not None and found.shape[2] > 2:
        _regions(axes, found, extent)
    else:
        _surface(sheet, found[:, :, -1], (across, up), labels is not None)
    _dots(axes, x, labels if labels is not None else np.zeros(len(x), int))
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="x[0]", ylabel="x[1]")
    return sheet.finished()


def _plane(x: Any) -> np.ndarray:
    shape = list(x.shape[1:]) if hasattr(x, "shape") else None
    if shape != [2]:
        given = f"a model with inputs of the shape {shape}" if shape else "a model with several inputs"
        raise ValueError(f"given {given}; expected 2 numbers for each example, which span the plane")
    return np.asarray(x)


def _labels(y: Any, classes: int | None) -> np.ndarray | None:
    """The class of each example; None where the targets are no classes."""
    if classes is None:
        return None
    return np.asarray(y).argmax(1) if np.ndim(y) == 2 and np.shape(y)[1] > 1 else np.asarray(y).reshape(-1).astype(int)


def _surface(sheet: Sheet, values: np.ndarray, grid: tuple[np.ndarray, np.ndarray], is_probability: bool) -> None:
    [axes] = sheet.axes
    finite = values[np.isfinite(values)]
    most = max(0.5, float(np.abs(finite).max(initial=0))) if not is_probability else 1.0
    limits = {"vmin": 0.0, "vmax": 1.0} if is_probability else {"vmin": -most, "vmax": most}
    axes.set_facecolor(NOT_FINITE)  # which a smooth surface leaves out
    shown = axes.pcolormesh(*grid, np.ma.masked_invalid(values), cmap=diverging(pale=True), shading="gouraud", **limits)
    middle = 0.5 if is_probability else 0.0
    if finite.size and finite.min() < middle < finite.max():
        axes.contour(*grid, values, [middle], colors="#333333", linewidths=1.5)
    label = f"probability of class 1, from {short(finite.min())} to {short(finite.max())}" if finite.size else "NaN"
    sheet.figure.colorbar(shown, label=label if is_probability else "output", pad=0.02)


def _regions(axes: Any, found: np.ndarray, extent: list[float]) -> None:
    from matplotlib.colors import to_rgb

    colours = np.array([to_rgb(COLOURS[index % len(COLOURS)]) for index in range(found.shape[2])])
    winner = found.argmax(2)
    least = 1 / found.shape[2]
    sure = np.clip((found.max(2) - least) / (1 - least), 0, 1)[:, :, np.newaxis]
    strength = 0.12 + 0.5 * np.nan_to_num(sure)
    pixels = np.where(np.isfinite(found).all(2)[:, :, np.newaxis], 1 - strength * (1 - colours[winner]), [1.0, 0, 1.0])
    axes.imshow(pixels, origin="lower", extent=extent, aspect="auto", interpolation="nearest")


def _dots(axes: Any, x: np.ndarray, labels: np.ndarray) -> None:
    size = float(np.clip(4000 / len(x), 10, 70))
    for label in np.unique(labels):
        mine, colour = x[labels == label], _DOTS.get(int(label), COLOURS[label % len(COLOURS)])
        axes.scatter(*mine.T, s=size, c=colour, edgecolors="white", linewidths=0.7, label=f"class {label}", zorder=3)
    if len(np.unique(labels)) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, handletextpad=0.2, columnspacing=1.2)
