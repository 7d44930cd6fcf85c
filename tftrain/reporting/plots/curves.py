"""Curves of one or several runs over their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tftrain.core.types import PlotContext
from tftrain.reporting.plots.style import (
    BLUE,
    COLOURS,
    NOT_FINITE,
    ORANGE,
    WIDTH,
    PlotFigure,
    plain_label,
)
from tftrain.runtime.working_directory import import_matplotlib

VALIDATION = "val_"
_NORMS = (
    "grad_norm",
    "clipped_grad_norm",
    "grad_norm_max",
    "update_ratio",
    "weight_norm",
)
# An axis is logarithmic if the largest value of its curves is so many times the smallest.
_LOG_RATIO = 100
# A curve that varies by less than this share of its values is shown as flat.
_FLAT = 1e-5
# Inches of a panel.
PANEL_WIDTH = 4.4
_PANEL_HEIGHT = 3.4
_MAX_COLUMNS = 3
_LETTERS_PER_INCH = 11
_MAX_LEGEND_LINES = 12
_MAX_LEGEND_COLUMNS = 4
# A running mean is drawn over this share of the points, where there are many.
_SMOOTH = 20
# A curve is noisy if it moves up and down by so many times its range in all.
_NOISY = 8

# Steps and values of each scalar.
History = Mapping[str, tuple[np.ndarray, np.ndarray]]


def curves(scene: PlotContext, scalars: list[str] | None = None) -> Any:
    """Draw the curves so far of loss, metrics and gradient norm, or of the `scalars` named.

    Args:
        scene: the run at this step.
        scalars: names to draw, or None for loss, metrics and gradient norm. A name that
            ends with a slash, such as `grad_norm/` or `dead_units/`, stands for the
            scalars of all parameters or layers.

    Raises:
        ValueError: nothing was logged of a scalar.
    """
    history = scene.history
    if not history:
        return None
    names = default_scalars(history) if scalars is None else scalars
    may_be_validated_later = not any(
        name.startswith(VALIDATION) for name in history
    )
    unknown = [
        name
        for name in names
        if not curves_of(history, name)
        and not (may_be_validated_later and name.startswith(VALIDATION))
    ]
    if unknown and scalars is not None:
        groups = [
            name.partition("/")[0] + "/" * ("/" in name) for name in history
        ]
        known = ", ".join(dict.fromkeys(groups))
        raise ValueError(
            f"scalars: given '{unknown[0]}', of which nothing was logged; there are {known}"
        )
    names = [name for name in names if curves_of(history, name)]
    if not names:
        return None
    return draw_curves({"": history}, names, f"curves, step {scene.step}")


def default_scalars(history: History) -> list[str]:
    """Return the names of loss, validated metrics, and gradient norm."""
    validated = [
        name.removeprefix(VALIDATION)
        for name in history
        if name.startswith(VALIDATION)
    ]
    if validated:
        metrics = [
            name for name in validated if name in history and name != "loss"
        ]
    else:
        metrics = _training_metrics(history)
    return ["loss", *metrics, "grad_norm"]


def _training_metrics(history: History) -> list[str]:
    """The scalars between `epoch` and those of parameters, where a point has its metrics."""
    names = list(history)
    if "epoch" not in names:
        return []
    metrics = []
    for name in names[names.index("epoch") + 1 :]:
        if "/" in name or name == "depth_ratio":
            break
        metrics.append(name)
    return metrics


def curves_of(
    history: History, name: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the curves of a scalar.

    Args:
        history: that of a run.
        name: of a scalar, of its validation, or of a group, which ends with a slash.

    Returns:
        `train` and `validation` of a scalar, or each scalar of a group without its name.
    """
    if name.endswith("/"):
        return {
            scalar.removeprefix(name): curve
            for scalar, curve in history.items()
            if scalar.startswith(name)
        }
    if name.startswith(VALIDATION):
        curves = {"validation": history.get(name)}
    else:
        curves = {
            "train": history.get(name),
            "validation": history.get(VALIDATION + name),
        }
    return {
        split: curve for split, curve in curves.items() if curve is not None
    }


def draw_curves(
    runs: Mapping[str, History],
    names: Sequence[str],
    title: str,
    min_width: float = WIDTH,
) -> Any:
    """Draw a panel for each scalar.

    Args:
        runs: history of each run by its name. Of several runs each has its colour, and
            its validation is dashed.
        names: of scalars and groups, as in `curves_of`.
        title: of the figure.
        min_width: of the figure, in inches.

    Returns:
        A figure of Matplotlib.
    """
    columns = min(len(names), _MAX_COLUMNS)
    rows = -(-len(names) // columns)
    size = (max(min_width, columns * PANEL_WIDTH), rows * _PANEL_HEIGHT + 0.8)
    plot = PlotFigure(title, rows, columns, size)
    groups = {
        run: _group_members(history, names) for run, history in runs.items()
    }
    for axes, name in zip(plot.axes, names, strict=False):
        for index, (run, history) in enumerate(runs.items()):
            curves = curves_of(history, name)
            members = groups[run] if name.endswith("/") else list(curves)
            run_index = index if len(runs) > 1 else None
            styles = _curve_styles(name, members, run_index)
            for member, curve in curves.items():
                label = plain_label(f"{run} {member}".strip())
                _draw_curve(axes, curve, label=label, **styles[member])
        _style_axes(axes, name)
    _add_legend(plot)
    return plot.finish()


def _group_members(history: History, names: Sequence[str]) -> list[str]:
    """All parameters and layers of the groups by depth, so that each looks the same in every panel."""
    members = dict.fromkeys(
        member
        for name in names
        if name.endswith("/")
        for member in curves_of(history, name)
    )
    return sorted(members, key=lambda member: member.partition(".")[0])


def _curve_styles(
    name: str, members: Sequence[str], run_index: int | None
) -> dict[str, dict[str, Any]]:
    """The style of each curve; `run_index` is None where there is only one run.

    Those of a group go from dark to bright with depth, or from pale to strong where the
    colour is the run's.
    """
    if run_index is None and name.endswith("/"):
        colormap = import_matplotlib().colormaps["viridis"]
        depths = np.linspace(0, 1, len(members))
        return {
            member: {"color": colormap(0.9 * depth)}
            for member, depth in zip(members, depths, strict=True)
        }
    if run_index is None:
        return {
            member: {"color": ORANGE if member == "validation" else BLUE}
            for member in members
        }
    colour = COLOURS[run_index % len(COLOURS)]
    if name.endswith("/"):
        alphas = np.linspace(1, 0.3, len(members))[::-1]
        return {
            member: {"color": colour, "alpha": alpha}
            for member, alpha in zip(members, alphas, strict=True)
        }
    return {
        member: {
            "color": colour,
            "linestyle": "--" if member == "validation" else "-",
        }
        for member in members
    }


def _draw_curve(
    axes: Any, curve: tuple[np.ndarray, np.ndarray], **style: Any
) -> None:
    """Draw a noisy curve of many points pale, with its running mean; mark NaN and infinity above."""
    steps, raw_values = curve
    values = np.where(np.isfinite(raw_values), raw_values, np.nan)
    is_bad = np.isnan(values)
    if is_bad.any():
        axes.plot(
            steps[is_bad],
            np.full(is_bad.sum(), 0.99),
            transform=axes.get_xaxis_transform(),
            linestyle="",
            marker="|",
            color=NOT_FINITE,
            label="NaN or infinite",
        )
    if len(steps) < 4 * _SMOOTH or not _is_noisy(values):
        # A single point makes no line.
        marker = "." if len(steps) < 3 else None
        axes.plot(steps, values, marker=marker, **style)
        return
    pale = {
        "linewidth": 0.8,
        "alpha": 0.3 * style.get("alpha", 1),
        "label": None,
    }
    axes.plot(steps, values, **style | pale)
    axes.plot(steps, running_mean(values, len(values) // _SMOOTH), **style)


def _is_noisy(values: np.ndarray) -> bool:
    """Whether a curve moves up and down all the time; of another a mean would round the corners."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    if finite.min() > 0:
        finite = np.log(finite)
    return bool(np.abs(np.diff(finite)).sum() > _NOISY * np.ptp(finite))


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of the finite values around each finite value; NaN elsewhere.

    Args:
        values: [points].
        width: how many values count; fewer do at the ends.
    """
    is_finite = np.isfinite(values)
    window = np.ones(width)
    sums = np.convolve(np.where(is_finite, values, 0), window, "same")
    counts = np.convolve(is_finite, window, "same")
    return np.where(is_finite, sums / np.maximum(counts, 1), np.nan)


def _style_axes(axes: Any, name: str) -> None:
    axes.set_title(plain_label(name), loc="left")
    axes.set_xlabel("step")
    axes.grid(True)
    values = np.concatenate(
        [line.get_ydata() for line in axes.lines] or [np.empty(0)]
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return
    on_log_axis = values
    if name.partition("/")[0] in _NORMS:
        # A norm of 0 does not keep the axis from being logarithmic.
        on_log_axis = values[values > 0]
    smallest = on_log_axis.min(initial=np.inf)
    if smallest > 0 and on_log_axis.max(initial=0) / smallest > _LOG_RATIO:
        axes.set_yscale("log")
    elif np.ptp(values) <= _FLAT * np.abs(values).max():
        # What differs is only rounding.
        middle = float(values.mean())
        margin = 0.1 * abs(middle or 1)
        axes.set_ylim(middle - margin, middle + margin)


def _add_legend(plot: PlotFigure) -> None:
    """Add one legend for all panels, if there is more than one kind of line."""
    lines = {
        line.get_label(): line
        for axes in plot.axes
        for line in axes.lines
        if not line.get_label().startswith("_")
    }
    if len(lines) < 2:
        return
    labels = list(lines)
    if len(labels) > _MAX_LEGEND_LINES:
        labels = [*labels[: _MAX_LEGEND_LINES - 1], labels[-1]]
    letters = plot.figure.get_figwidth() * _LETTERS_PER_INCH
    fitting = int(letters / (max(map(len, labels)) + 6))
    columns = max(1, min(len(labels), fitting, _MAX_LEGEND_COLUMNS))
    plot.figure.legend(
        [lines[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
    )
