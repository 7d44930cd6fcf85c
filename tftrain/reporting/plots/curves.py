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
    Sheet,
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
_RATIO = (
    100  # from the least to the most of a curve, above which its axis is logarithmic
)
_FLAT = 1e-5  # relative, that a curve goes up and down and is shown as flat
# Inches of a panel.
PANEL_WIDTH = 4.4
_PANEL_HEIGHT = 3.4
_MAX_COLUMNS = 3
_LETTERS = 11  # to an inch of the legend
_MOST_TOLD = 12  # lines in the legend, the last of them always
_SMOOTH = (
    20  # a running mean is drawn over this share of the points, where there are many
)
_NOISY = 8  # times from its least to its most that a curve goes up and down, from where on it is one of noise

History = Mapping[str, tuple[np.ndarray, np.ndarray]]  # steps and values of each scalar


def curves(scene: PlotContext, scalars: list[str] | None = None) -> Any:
    """Training and validation curves so far: of loss, metrics and gradient norm, or of the `scalars` named.

    A name that ends with a slash, such as `grad_norm/` or `dead_units/`, stands for those of all parameters or layers.
    """
    wanted = default_scalars(scene.history) if scalars is None else scalars
    if not scene.history:
        return None
    coming = not any(
        name.startswith(VALIDATION) for name in scene.history
    )  # there may be a validation yet
    unknown = [
        one
        for one in wanted
        if not curves_of(scene.history, one)
        and not (coming and one.startswith(VALIDATION))
    ]
    if unknown and scalars is not None:
        there = ", ".join(
            dict.fromkeys(
                name.partition("/")[0] + "/" * ("/" in name) for name in scene.history
            )
        )
        raise ValueError(
            f"scalars: given '{unknown[0]}', of which nothing was logged; there are {there}"
        )
    wanted = [name for name in wanted if curves_of(scene.history, name)]
    if not wanted:
        return None
    return draw_curves({"": scene.history}, wanted, f"curves, step {scene.step}")


def default_scalars(history: History) -> list[str]:
    """The loss, what else is validated, and the gradient norm."""
    told = [
        name.removeprefix(VALIDATION) for name in history if name.startswith(VALIDATION)
    ]
    metrics = [name for name in told if name in history and name != "loss"]
    return ["loss", *([*metrics] if told else _metrics(history)), "grad_norm"]


def _metrics(history: History) -> list[str]:
    """The scalars after `epoch`, where a point has the metrics, up to those of each parameter."""
    names = list(history)
    after = names[names.index("epoch") + 1 :] if "epoch" in names else []
    ends = next(
        (
            place
            for place, name in enumerate(after)
            if "/" in name or name == "depth_ratio"
        ),
        len(after),
    )
    return after[:ends]


def curves_of(history: History, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves of a scalar: `train`, and `validation` where there is one, or that alone where it is named.

    Of a group, whose name ends with a slash, each of its scalars.
    """
    if name.endswith("/"):
        return {
            one.removeprefix(name): curve
            for one, curve in history.items()
            if one.startswith(name)
        }
    curves = {"train": history.get(name), "validation": history.get(VALIDATION + name)}
    if name.startswith(VALIDATION):
        curves = {"validation": history.get(name)}
    return {split: curve for split, curve in curves.items() if curve is not None}


def draw_curves(
    runs: Mapping[str, History],
    wanted: Sequence[str],
    title: str,
    min_width: float = WIDTH,
) -> Any:
    """A panel for each scalar; each run has its colour, and its validation is dashed."""
    columns = min(len(wanted), _MAX_COLUMNS)
    rows = -(-len(wanted) // columns)
    sheet = Sheet(
        title,
        rows,
        columns,
        (max(min_width, columns * PANEL_WIDTH), rows * _PANEL_HEIGHT + 0.8),
    )
    groups = {run: _members(history, wanted) for run, history in runs.items()}
    for axes, name in zip(sheet.axes, wanted, strict=False):
        for number, (run, history) in enumerate(runs.items()):
            curves = curves_of(history, name)
            members = groups[run] if name.endswith("/") else [*curves]
            styles = _styles(name, members, number if len(runs) > 1 else None)
            for split, style in ((split, styles[split]) for split in curves):
                _line(
                    axes,
                    curves[split],
                    label=plain_label(" ".join(filter(None, [run, split]))),
                    **style,
                )
        _dress(axes, name)
    _explain(sheet)
    return sheet.finished()


def _members(history: History, wanted: Sequence[str]) -> list[str]:
    """All parameters and layers of the groups that are drawn, by depth, so that each looks the same in every panel."""
    members = dict.fromkeys(
        one for name in wanted if name.endswith("/") for one in curves_of(history, name)
    )
    return sorted(
        members, key=lambda name: name.partition(".")[0]
    )  # as layers are numbered


def _styles(
    name: str, splits: Sequence[str], number: int | None
) -> dict[str, dict[str, Any]]:
    """How each curve looks, of the run of this number where there are several.

    Those of a group go from dark to bright with the layers, and from pale to strong where the colour is the run's.
    """
    mine = COLOURS[(number or 0) % len(COLOURS)]
    if name.endswith("/"):
        matplotlib = import_matplotlib()
        depths, dark_to_bright = (
            np.linspace(0, 1, len(splits)),
            matplotlib.colormaps["viridis"],
        )
        styles = [{"color": dark_to_bright(0.9 * depth)} for depth in depths]
        if number is not None:
            alphas = np.linspace(1, 0.3, len(splits))[::-1]
            styles = [{"color": mine, "alpha": alpha} for alpha in alphas]
        return dict(zip(splits, styles, strict=True))
    if number is None:
        return {
            split: {"color": ORANGE if split == "validation" else BLUE}
            for split in splits
        }
    return {
        split: {"color": mine, "linestyle": "--" if split == "validation" else "-"}
        for split in splits
    }


def _line(axes: Any, curve: tuple[np.ndarray, np.ndarray], **style: Any) -> None:
    """One of many points that is noisy is drawn pale, with its running mean; NaN and infinity are marked above."""
    steps, values = curve[0], np.where(np.isfinite(curve[1]), curve[1], np.nan)
    bad = np.isnan(values)
    if bad.any():
        top = np.full(bad.sum(), 0.99)
        mark = {
            "linestyle": "",
            "marker": "|",
            "color": NOT_FINITE,
            "label": "NaN or infinite",
        }
        axes.plot(steps[bad], top, transform=axes.get_xaxis_transform(), **mark)
    if len(steps) < 4 * _SMOOTH or not _is_noisy(values):
        axes.plot(
            steps, values, marker="." if len(steps) < 3 else None, **style
        )  # a single point makes no line
        return
    pale = {"linewidth": 0.8, "alpha": 0.3 * style.get("alpha", 1), "label": None}
    axes.plot(steps, values, **style | pale)
    axes.plot(steps, running(values, len(values) // _SMOOTH), **style)


def _is_noisy(values: np.ndarray) -> bool:
    """Whether a curve goes up and down all the time; of one that does not, a mean would round the corners."""
    known = values[np.isfinite(values)]
    if len(known) and known.min() > 0:
        known = np.log(known)
    return bool(len(known)) and np.abs(np.diff(known)).sum() > _NOISY * np.ptp(known)


def running(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of `width` values around each that is finite, of those that are; fewer at the ends."""
    known = np.isfinite(values)
    window = np.ones(width)
    sums = np.convolve(np.where(known, values, 0), window, "same")
    counts = np.convolve(known, window, "same")
    return np.where(known, sums / np.maximum(counts, 1), np.nan)


def _dress(axes: Any, name: str) -> None:
    axes.set_title(plain_label(name), loc="left")
    axes.set_xlabel("step")
    axes.grid(True)
    values = np.concatenate([line.get_ydata() for line in axes.lines] or [np.empty(0)])
    values = values[np.isfinite(values)]
    sizes = (
        values[values > 0] if name.partition("/")[0] in _NORMS else values
    )  # a norm of 0 is off a logarithmic axis
    if len(sizes) and sizes.min() > 0 and sizes.max() / sizes.min() > _RATIO:
        axes.set_yscale("log")
    elif (
        len(values) and np.ptp(values) <= _FLAT * np.abs(values).max()
    ):  # what differs is but rounding
        middle = float(values.mean())
        axes.set_ylim(middle - 0.1 * abs(middle or 1), middle + 0.1 * abs(middle or 1))


def _explain(sheet: Sheet) -> None:
    """One legend for all panels, where there is anything to be told apart."""
    lines = {
        line.get_label(): line
        for axes in sheet.axes
        for line in axes.lines
        if not line.get_label().startswith("_")
    }
    if len(lines) > _MOST_TOLD:
        names = [*lines]
        lines = {name: lines[name] for name in [*names[: _MOST_TOLD - 1], names[-1]]}
    if len(lines) > 1:
        columns = int(
            sheet.figure.get_figwidth() * _LETTERS / (max(map(len, lines)) + 6)
        )
        columns = max(1, min(len(lines), columns, 4))
        sheet.figure.legend(
            lines.values(),
            lines.keys(),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
        )
