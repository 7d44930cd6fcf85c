"""What the page of the Gradients tab asks for, as values that JSON can hold.

A number that is not finite is the text NaN, Infinity or -Infinity; one that there is not is null. What one run has
written may be damaged: that is an answer for this run, and the others are not touched by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tftrain.reporting.tensorboard.protocol import NONE, PLUGIN, TENSORS
from tftrain.reporting.tensorboard_plugin.layout import (
    LAYERS,
    PARAMETERS,
    Damaged,
    Layout,
    read_layout,
)
from tftrain.reporting.tensorboard_plugin.quantities import (
    QUANTITIES,
    Quantity,
    read_columns,
)
from tftrain.reporting.tensorboard_plugin.reader import EventReader

HISTOGRAMS = {"log10": "grad_hist_log10", "value": "grad_hist"}  # by axis
CURVES = {
    "loss": "Overview/loss",
    "clip_rate": "Overview/clip_rate",
    "nonfinite_steps": "Overview/nonfinite_steps",
    "depth_ratio": "Overview/depth_ratio_decades",
    "learning_rate": "Overview/learning_rate",
}
INCIDENTS = "incidents/"
NO_MAP = "it has no gradients: tftrain has not written it, or not yet its first point"


class Unknown(LookupError):
    """The log has no such run, parameter or quantity."""


def runs(log: EventReader) -> dict[str, Any]:
    """Every run by name: when it began, its parameters in the model's order and their sizes, or else a `fault`."""
    started, maps = log.started(), log.tags(PLUGIN)
    names = sorted(
        {*started, *maps}
        - {
            name
            for name in started
            if _is_validation(name, started) and name not in maps
        }
    )
    return {
        name: {"started": started.get(name, 0.0), **_described(maps.get(name))}
        for name in names
    }


def gradient_map(
    log: EventReader, run: str, quantity: str, rows: str
) -> dict[str, Any]:
    """One quantity over a run: `names` [rows], `steps` [points] and `values` [rows, points].

    `rows` is `layers`, of which each is all its parameters together, or `parameters`.
    """
    found, layout = _known_quantity(quantity), _known_layout(log, run)
    members = layout.rows(_known_rows(rows))
    steps, tables = _points(log, run, found.tensor, layout)
    values = _combined(found, tables, layout, members.values())
    return {
        "names": [*members],
        "steps": steps,
        "values": [_known_numbers(row) for row in values.tolist()],
    }


def history(log: EventReader, run: str, row: str, rows: str) -> dict[str, Any]:
    """Every quantity of one row over a run: `steps` [points] and `values` [points] of each."""
    layout = _known_layout(log, run)
    members = _member_places(layout, run, row, rows)
    points = {tensor: _points(log, run, tensor, layout) for tensor in TENSORS}
    curves = {}
    for name, quantity in QUANTITIES.items():
        steps, tables = points[quantity.tensor]
        [values] = _combined(quantity, tables, layout, [members])
        curves[name] = {"steps": steps, "values": _known_numbers(values.tolist())}
    return curves


def histogram(log: EventReader, run: str, parameter: str, step: str) -> dict[str, Any]:
    """The histogram of a parameter's gradient that is nearest to a step, as rows of left, right, count."""
    _member_places(_known_layout(log, run), run, parameter, PARAMETERS)
    if not step.isdecimal() or len(step) > 18:
        raise Unknown(f"no step {step[:40]!r}; expected a number")
    wanted = int(step)
    for axis, head in HISTOGRAMS.items():
        for points in log.tensors("histograms", run, [f"{head}/{parameter}"]).values():
            point = min(points, key=lambda point: abs(point.step - wanted))
            if (
                point.numpy.ndim != 2
                or point.numpy.shape[1] != 3
                or point.numpy.dtype.kind not in "fiu"
            ):
                raise Damaged(
                    f"its histogram of {parameter} at step {point.step} cannot be read"
                )
            return {
                "axis": axis,
                "step": point.step,
                "rows": [_numbers(row) for row in point.numpy.tolist()],
            }
    return {"axis": None, "step": None, "rows": []}


def run_timeline(log: EventReader, run: str) -> dict[str, Any]:
    """What stands above the map: curves of training and validation, the incidents, and each quantity at its last."""
    layout = _known_layout(log, run)
    curves = {name: _curve(log, run, tag) for name, tag in CURVES.items()}
    validation = _curve(log, "val" if run == "." else f"{run}/val", CURVES["loss"])
    tags = [
        tag
        for tag in log.tags("text").get(run, {})
        if tag.removeprefix(INCIDENTS).isdecimal()
    ]
    texts = log.tensors("text", run, tags) if tags else {}
    incidents = [
        _incident(tag, point) for tag, points in texts.items() for point in points
    ]
    return {
        **curves,
        "val_loss": validation,
        "incidents": sorted(incidents, key=lambda incident: incident["step"]),
        "latest": _latest(log, run, layout),
    }


def _is_validation(name: str, known: Iterable[str]) -> bool:
    parent, _, last = name.rpartition("/")
    return last == "val" and (parent or ".") in known


def _described(tags: Mapping[str, bytes] | None) -> dict[str, Any]:
    if tags is None:
        return {"fault": NO_MAP}
    try:
        return read_layout(tags)._asdict()
    except Damaged as error:
        return {"fault": str(error)}


def _known_layout(log: EventReader, run: str) -> Layout:
    tags = log.tags(PLUGIN).get(run)
    if not tags:
        raise Unknown(f"no run {run!r} with gradients in this log")
    return read_layout(tags)


def _known_quantity(name: str) -> Quantity:
    if name not in QUANTITIES:
        raise Unknown(f"no quantity {name!r}; expected one of {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


def _known_rows(kind: str) -> str:
    if kind not in (LAYERS, PARAMETERS):
        raise Unknown(f"no rows {kind!r}; expected {LAYERS} or {PARAMETERS}")
    return kind


def _member_places(layout: Layout, run: str, row: str, rows: str) -> list[int]:
    members = layout.rows(_known_rows(rows))
    if row not in members:
        raise Unknown(f"no {rows.removesuffix('s')} {row!r} in run {run!r}")
    return members[row]


def _points(
    log: EventReader, run: str, tensor: str, layout: Layout
) -> tuple[list[int], list[np.ndarray]]:
    """The steps of a tensor, and its numbers at each, [parameters, columns]; raises Damaged."""
    points = log.tensors(PLUGIN, run, [tensor]).get(tensor, [])
    for point in points:
        shape = point.numpy.shape
        if (
            len(shape) != 2
            or shape[0] != len(layout.parameters)
            or point.numpy.dtype.kind != "f"
        ):
            raise Damaged(
                f"{tensor} at step {point.step}: given an array of shape {list(shape)}, "
                f"expected numbers of shape [{len(layout.parameters)}, ...], a row for each parameter"
            )
    return [point.step for point in points], [point.numpy for point in points]


def _combined(
    quantity: Quantity,
    tables: Sequence[np.ndarray],
    layout: Layout,
    members: Iterable[Sequence[int]],
) -> np.ndarray:
    """A quantity of each row, [rows, points]."""
    rows = [list(places) for places in members]
    if not tables:
        return np.empty((len(rows), 0))
    inputs = read_columns(quantity, tables)
    sizes = np.array(
        [1 if size is None else size for size in layout.sizes], np.float64
    )[:, None]
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        return np.stack(
            [
                quantity.combine(*(one[places] for one in inputs), sizes[places])
                for places in rows
            ]
        )


def _latest(log: EventReader, run: str, layout: Layout) -> dict[str, Any]:
    """Each quantity by layer at its last point, with the `step` of that; those that have none are left out."""
    members, found = layout.rows(LAYERS).values(), {}
    points = {tensor: _points(log, run, tensor, layout) for tensor in TENSORS}
    for name, quantity in QUANTITIES.items():
        steps, tables = points[quantity.tensor]
        if steps:
            values = _combined(quantity, tables[-1:], layout, members).ravel()
            found[name] = {"step": steps[-1], "values": _known_numbers(values.tolist())}
    return found


def _curve(log: EventReader, run: str, tag: str) -> dict[str, list]:
    points = log.scalars(run, [tag]).get(tag, [])
    return {
        "steps": [point.step for point in points],
        "values": _numbers(point.value for point in points),
    }


def _incident(tag: str, point: Any) -> dict[str, Any]:
    lines = [
        value for value in np.ravel(point.numpy).tolist() if isinstance(value, bytes)
    ]
    text = lines[0].decode(errors="replace") if lines else ""
    return {
        "step": int(tag.removeprefix(INCIDENTS)),
        "text": text.removeprefix("```\n").removesuffix("```\n"),
    }


def _known_numbers(values: Iterable[float]) -> list[float | str | None]:
    return [None if value == NONE else _number(value) for value in values]


def _numbers(values: Iterable[float]) -> list[float | str]:
    return [_number(value) for value in values]


def _number(value: float) -> float | str:
    """Five digits are more than a picture shows, and half the bytes."""
    if math.isfinite(value):
        return float(f"{value:.5g}")
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
