"""The loss over two numbers of the weights, and the way that training takes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from tftrain.config.field_types import Range
from tftrain.core.types import PlotContext
from tftrain.core.variables import element_name, parse_element_name
from tftrain.reporting.plots.style import (
    NOT_FINITE,
    ORANGE,
    WIDTH,
    PlotFigure,
    format_short,
)

# Prefix of the scalars that the probe `weights` logs.
GROUP = "probes/weight/"
_LEVELS = 24
# Share of the path's extent that is left around it.
_MARGIN = 0.25
# Levels are of the loss's logarithm if its largest value is so many times the smallest.
_DECADE = 10.0

Path = tuple[np.ndarray, np.ndarray]


def loss_surface(
    scene: PlotContext,
    x: str | None = None,
    y: str | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    resolution: Annotated[int, Range(2, 500)] = 25,
) -> Any:
    """Draw the loss of the first training batch over two weights, all others as they are now.

    The path of training over the surface is drawn where `log.probes` has the probe
    `weights`: the points that it measured, with `log.histograms_every: 1` each step.

    Args:
        scene: the run at this step.
        x: name of the first weight, such as `000.output/kernel.0.0` (row 0, column 0);
            None for the first of the first parameter that has two.
        y: name of the second weight; None for the second of that parameter.
        x_range: least and greatest value of x; None for those of the path and a margin.
        y_range: the same for y.
        resolution: points of the grid along each axis; each of its points takes a
            forward pass.

    Raises:
        ValueError: a name or a range is wrong.
    """
    names = _chosen_names(scene, x, y)
    places = tuple(
        parse_element_name(
            name, scene.names, [param.shape for param in scene.params]
        )
        for name in names
    )
    path = _measured_path(scene, names)
    now = tuple(
        float(scene.params[param].flat[place]) for param, place in places
    )
    wished = (("x_range", x_range), ("y_range", y_range))
    sides = [
        _grid_side(key, limits, np.append(way, here), resolution)
        for (key, limits), way, here in zip(wished, path, now, strict=True)
    ]
    losses = _grid_losses(scene, places, sides)
    plot = PlotFigure(f"loss, step {scene.step}", size=(WIDTH, 5.2))
    [axes] = plot.axes
    _draw_contours(plot, axes, sides, losses)
    _draw_path(axes, path, now)
    if not path[0].size and any(
        name.startswith(GROUP) for name in scene.history
    ):
        axes.plot(
            [],
            [],
            linestyle="",
            label="no way: the probe weights does not measure both",
        )
    axes.set(
        xlabel=names[0],
        ylabel=names[1],
        xlim=sides[0][[0, -1]],
        ylim=sides[1][[0, -1]],
    )
    handles, labels = axes.get_legend_handles_labels()
    plot.figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False
    )
    return plot.finish()


def _chosen_names(
    scene: PlotContext, x: str | None, y: str | None
) -> tuple[str, str]:
    """The names of the two numbers; raises ValueError."""
    shapes = [param.shape for param in scene.params]
    large = next(
        (at for at, param in enumerate(scene.params) if param.size > 1), None
    )
    if large is None and None in (x, y):
        raise ValueError(
            "given a model whose parameters have one number each; name two of them as x and y"
        )
    first = (
        []
        if large is None
        else [
            element_name(scene.names[large], shapes[large], place)
            for place in (0, 1)
        ]
    )
    pair = [
        wished or default
        for wished, default in zip((x, y), first or ("", ""), strict=True)
    ]
    if pair[0] == pair[1]:
        raise ValueError(f"x and y are both '{pair[0]}'; expected two numbers")
    for key, name in zip("xy", pair, strict=True):
        try:
            parse_element_name(name, scene.names, shapes)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return pair[0], pair[1]


def _measured_path(scene: PlotContext, names: Sequence[str]) -> Path:
    """Both numbers at each step that measured them; NaN where one was not finite."""
    nothing = (np.empty(0), np.empty(0))
    (steps, across), (other_steps, up) = (
        scene.history.get(GROUP + name, nothing) for name in names
    )
    common_steps, x_places, y_places = np.intersect1d(
        steps, other_steps, return_indices=True
    )
    is_past = common_steps <= scene.step
    way = np.array(
        [across[x_places][is_past], up[y_places][is_past]], np.float64
    )
    way[:, ~np.isfinite(way).all(axis=0)] = np.nan
    return way[0], way[1]


def _grid_side(
    key: str,
    limits: Sequence[float] | None,
    values: np.ndarray,
    resolution: int,
) -> np.ndarray:
    """The places of the grid along one axis, [resolution]."""
    if limits is not None:
        if not limits[0] < limits[1]:
            raise ValueError(
                f"{key}: given {list(limits)}; expected the least and then the greatest"
            )
        return np.linspace(*limits, resolution)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (-1.0, 1.0)
    margin = _MARGIN * (high - low) if high > low else max(abs(low), 1.0)
    return np.linspace(low - margin, high + margin, resolution)


def _grid_losses(
    scene: PlotContext,
    places: tuple[tuple[int, int], ...],
    sides: Sequence[np.ndarray],
) -> np.ndarray:
    """[resolution, resolution], the first axis from below."""
    across = sides[0]
    return np.array(
        [
            scene.losses(
                places, np.stack([across, np.full_like(across, up)], 1)
            )
            for up in sides[1]
        ]
    )


def _draw_contours(
    plot: PlotFigure, axes: Any, sides: Sequence[np.ndarray], losses: np.ndarray
) -> None:
    """Dark where the loss is small; the levels are those of its logarithm where it spans more than a decade."""
    finite_losses = np.ma.masked_invalid(losses)
    axes.set_facecolor(NOT_FINITE)
    if not finite_losses.count():
        return
    low = float(finite_losses.min())
    high = float(finite_losses.max())
    logarithmic = low > 0 and high / low > _DECADE
    levels = (
        np.geomspace(low, high, _LEVELS)
        if logarithmic
        else np.linspace(low, high, _LEVELS)
    )
    if not low < high:
        levels = np.array([low - 0.5, low + 0.5])
    norm = None
    if logarithmic:
        from matplotlib.colors import LogNorm

        norm = LogNorm(low, high)
    levels[-1] = max(levels[-1], high)
    filled = axes.contourf(
        *sides,
        finite_losses,
        levels=levels,
        cmap="viridis",
        norm=norm,
        alpha=0.85,
    )
    axes.contour(
        *sides,
        finite_losses,
        levels=levels,
        colors="white",
        linewidths=0.4,
        alpha=0.6,
    )
    ticks = levels[:: max(1, len(levels) // 6)]
    bar = plot.figure.colorbar(
        filled, ax=axes, ticks=ticks, label="loss of the first training batch"
    )
    bar.ax.set_yticklabels([format_short(tick) for tick in ticks])
    bar.ax.minorticks_off()


def _draw_path(axes: Any, path: Path, now: tuple[float, float]) -> None:
    """From a ring to a dot."""
    track = [np.append(way, here) for way, here in zip(path, now, strict=True)]
    if path[0].size:
        axes.plot(*track, color="white", linewidth=3, alpha=0.7)
        axes.plot(
            *track,
            color="black",
            linewidth=1.2,
            marker=".",
            markersize=4,
            label=f"{path[0].size} steps measured",
        )
        axes.plot(
            track[0][:1],
            track[1][:1],
            linestyle="",
            marker="o",
            markersize=9,
            color="black",
            fillstyle="none",
            label="start",
        )
    axes.plot(
        *([coordinate] for coordinate in now),
        linestyle="",
        marker="o",
        markersize=8,
        color=ORANGE,
        markeredgecolor="black",
        label="now",
    )
