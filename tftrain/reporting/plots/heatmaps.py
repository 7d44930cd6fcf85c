"""Weights and their gradients as heat maps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tftrain.config.field_types import Pattern, PositiveInt
from tftrain.core.types import PlotContext
from tftrain.reporting.plots.style import (
    PlotFigure,
    diverging_colormap,
    format_short,
)

_COLUMNS = 3
# Cells of a side; of larger matrices rows and columns are left out evenly.
_MAX_CELLS = 400


def weights(
    scene: PlotContext, only: Pattern | None = None, most: PositiveInt = 6
) -> Any:
    """Draw matrices of weights as heat maps.

    Args:
        scene: the run at this step.
        only: pattern to search for in the names of parameters; None for all matrices.
        most: how many to draw at most; without `only` they are spread over the layers.

    Raises:
        ValueError: no name matches `only`.
    """
    return _draw_matrices(scene, scene.params, "weights", (only, most))


def gradients(
    scene: PlotContext,
    only: Pattern | None = None,
    most: PositiveInt = 6,
    clipped: bool = False,
) -> Any:
    """Draw gradients as heat maps, for a batch that stays the same.

    Args:
        scene: the run at this step.
        only: pattern to search for in the names of parameters; None for all matrices.
        most: how many to draw at most; without `only` they are spread over the layers.
        clipped: draw them after the clips instead of before.

    Raises:
        ValueError: no name matches `only`.
    """
    name = "clipped gradients" if clipped else "gradients"
    return _draw_matrices(
        scene, scene.clipped if clipped else scene.raw, name, (only, most)
    )


def _draw_matrices(
    scene: PlotContext,
    values: Sequence[np.ndarray],
    what: str,
    chosen: tuple[str | None, int],
) -> Any:
    indices = _chosen_indices(scene, *chosen)
    columns = min(len(indices), _COLUMNS)
    rows = -(-len(indices) // columns)
    plot = PlotFigure(
        f"{what}, step {scene.step}",
        rows,
        columns,
        (max(4.8, 3.2 * columns), 3.1 * rows + 0.6),
    )
    for axes, index in zip(plot.axes, indices, strict=False):
        _draw_heat_map(
            plot,
            axes,
            scene.names[index],
            np.asarray(values[index], np.float64),
        )
    return plot.finish()


def _chosen_indices(
    scene: PlotContext, only: str | None, most: int
) -> list[int]:
    if only is not None:
        indices = [
            index
            for index, name in enumerate(scene.names)
            if re.search(only, name)
        ]
        if not indices:
            raise ValueError(
                f"only: given '{only}', which is in no parameter's name; there are {', '.join(scene.names)}"
            )
        return indices[:most]
    indices = [
        index for index, param in enumerate(scene.params) if param.ndim > 1
    ] or [*range(len(scene.names))]
    return [
        indices[place]
        for place in dict.fromkeys(
            np.linspace(0, len(indices) - 1, most).round().astype(int).tolist()
        )
    ]


def _draw_heat_map(
    plot: PlotFigure, axes: Any, name: str, values: np.ndarray
) -> None:
    """The last axis from left to right, all others from top to bottom; zero is white."""
    shape = " x ".join(map(str, values.shape)) or "1"
    if values.ndim == 2 and name.endswith("/kernel"):
        shape = f"{values.shape[0]} in (down) x {values.shape[1]} out (across)"
    values = (
        values.reshape(-1, values.shape[-1])
        if values.ndim > 1
        else values.reshape(1, -1)
    )
    finite = values[np.isfinite(values)]
    limit = float(np.abs(finite).max(initial=0)) or 1.0
    rows, columns = (-(-side // _MAX_CELLS) for side in values.shape)
    cells = np.ma.masked_invalid(values[::rows, ::columns])
    image = axes.imshow(
        cells,
        cmap=diverging_colormap(),
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    layer, _, kind = name.rpartition("/")
    axes.set_title(
        f"{layer}\n{kind}, {shape}" if layer else f"{kind}, {shape}", fontsize=9
    )
    spread = (
        f"{format_short(finite.min())} to {format_short(finite.max())}"
        if finite.size
        else "nothing finite"
    )
    axes.set_xlabel(
        spread
        if finite.size == values.size
        else f"{spread}; {values.size - finite.size} NaN or Inf"
    )
    axes.set(xticks=[], yticks=[])
    bar = plot.figure.colorbar(
        image, ax=axes, ticks=[-limit, 0, limit], shrink=0.9, pad=0.02
    )
    bar.ax.set_yticklabels(
        [format_short(-limit), "0", format_short(limit)], fontsize=9
    )
