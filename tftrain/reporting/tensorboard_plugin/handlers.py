"""The requests of the Gradients tab's page; results are values that JSON can hold.

A number that is not finite is the text NaN, Infinity or -Infinity, a missing one is
null. If the files of one run are damaged, only the requests for this run fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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

# Tags of gradient histograms by their axis, the preferred one first.
HISTOGRAMS = {"log10": "grad_hist_log10", "value": "grad_hist"}
CURVES = {
    "loss": "Overview/loss",
    "clip_rate": "Overview/clip_rate",
    "nonfinite_steps": "Overview/nonfinite_steps",
    "depth_ratio": "Overview/depth_ratio_decades",
    "learning_rate": "Overview/learning_rate",
}
INCIDENTS = "incidents/"
NO_MAP = "it has no gradients: tftrain has not written it, or not yet its first point"
_MAX_STEP_DIGITS = 18


class Unknown(LookupError):
    """The log has no such run, parameter or quantity."""


def list_runs(log: EventReader) -> dict[str, Any]:
    """Return `started`, `parameters` and `sizes` of each run by name, or its `fault`."""
    start_times = log.start_times()
    maps = log.list_tags(PLUGIN)
    validation_runs = {
        name
        for name in start_times
        if _is_validation(name, start_times) and name not in maps
    }
    runs = {}
    for name in sorted({*start_times, *maps} - validation_runs):
        facts = {"started": start_times.get(name, 0.0)}
        if name not in maps:
            facts["fault"] = NO_MAP
        else:
            try:
                facts |= read_layout(maps[name])._asdict()
            except Damaged as error:
                facts["fault"] = str(error)
        runs[name] = facts
    return runs


def gradient_map(
    log: EventReader, run: str, quantity: str, rows: str
) -> dict[str, Any]:
    """Return a quantity over a run: `names` [rows], `steps` [points], `values` [rows, points].

    Args:
        log: the log directory.
        run: name of the run.
        quantity: a key of QUANTITIES.
        rows: `parameters`, or `layers`, which are all their parameters together.

    Raises:
        Unknown: an argument names nothing.
        Damaged: the files of the run cannot be read.
    """
    if quantity not in QUANTITIES:
        expected = ", ".join(QUANTITIES)
        raise Unknown(f"no quantity {quantity!r}; expected one of {expected}")
    definition = QUANTITIES[quantity]
    layout = _find_layout(log, run)
    groups = _group_rows(layout, rows)
    steps, tables = _read_points(log, run, definition.tensor, layout)
    values = _combine_rows(definition, tables, layout, groups.values())
    return {
        "names": list(groups),
        "steps": steps,
        "values": [_json_values(row) for row in values.tolist()],
    }


def row_history(
    log: EventReader, run: str, row: str, rows: str
) -> dict[str, Any]:
    """Return `steps` [points] and `values` [points] of every quantity of one row.

    Args:
        log: the log directory.
        run: name of the run.
        row: name of the layer or parameter.
        rows: `layers` or `parameters`.

    Raises:
        Unknown: an argument names nothing.
        Damaged: the files of the run cannot be read.
    """
    layout = _find_layout(log, run)
    indices = _find_row(layout, run, row, rows)
    points = {
        tensor: _read_points(log, run, tensor, layout) for tensor in TENSORS
    }
    curves = {}
    for name, quantity in QUANTITIES.items():
        steps, tables = points[quantity.tensor]
        [values] = _combine_rows(quantity, tables, layout, [indices])
        curves[name] = {"steps": steps, "values": _json_values(values.tolist())}
    return curves


def nearest_histogram(
    log: EventReader, run: str, parameter: str, step: str
) -> dict[str, Any]:
    """Return the histogram of a parameter's gradient nearest to a step.

    Args:
        log: the log directory.
        run: name of the run.
        parameter: name of the parameter.
        step: a number in decimal digits.

    Returns:
        `axis`, `step` and `rows` of left, right, count; no rows if there is none.

    Raises:
        Unknown: an argument names nothing.
        Damaged: the files of the run cannot be read.
    """
    _find_row(_find_layout(log, run), run, parameter, PARAMETERS)
    if not step.isdecimal() or len(step) > _MAX_STEP_DIGITS:
        raise Unknown(f"no step {step[:40]!r}; expected a number")
    for axis, head in HISTOGRAMS.items():
        tag = f"{head}/{parameter}"
        points = log.read_tensors("histograms", run, [tag]).get(tag)
        if not points:
            continue
        point = min(points, key=lambda point: abs(point.step - int(step)))
        table = point.numpy
        is_table = table.ndim == 2 and table.shape[1] == 3
        if not is_table or table.dtype.kind not in "fiu":
            raise Damaged(
                f"its histogram of {parameter} at step {point.step} cannot be read"
            )
        rows = [
            [_json_number(value) for value in row] for row in table.tolist()
        ]
        return {"axis": axis, "step": point.step, "rows": rows}
    return {"axis": None, "step": None, "rows": []}


def run_timeline(log: EventReader, run: str) -> dict[str, Any]:
    """Return what is shown above a map: curves, incidents, and each quantity at its last point.

    Args:
        log: the log directory.
        run: name of the run.

    Raises:
        Unknown: there is no such run.
        Damaged: the files of the run cannot be read.
    """
    layout = _find_layout(log, run)
    timeline = {
        name: _read_curve(log, run, tag) for name, tag in CURVES.items()
    }
    validation_run = "val" if run == "." else f"{run}/val"
    timeline["val_loss"] = _read_curve(log, validation_run, CURVES["loss"])
    timeline["incidents"] = _read_incidents(log, run)
    timeline["latest"] = _latest_values(log, run, layout)
    return timeline


def _is_validation(name: str, known: Iterable[str]) -> bool:
    parent, _, last = name.rpartition("/")
    return last == "val" and (parent or ".") in known


def _find_layout(log: EventReader, run: str) -> Layout:
    tags = log.list_tags(PLUGIN).get(run)
    if not tags:
        raise Unknown(f"no run {run!r} with gradients in this log")
    return read_layout(tags)


def _group_rows(layout: Layout, kind: str) -> dict[str, list[int]]:
    if kind not in (LAYERS, PARAMETERS):
        raise Unknown(f"no rows {kind!r}; expected {LAYERS} or {PARAMETERS}")
    return layout.group_rows(kind)


def _find_row(layout: Layout, run: str, row: str, kind: str) -> list[int]:
    groups = _group_rows(layout, kind)
    if row not in groups:
        raise Unknown(f"no {kind.removesuffix('s')} {row!r} in run {run!r}")
    return groups[row]


def _read_points(
    log: EventReader, run: str, tensor: str, layout: Layout
) -> tuple[list[int], list[np.ndarray]]:
    """The steps of a tensor, and its values at each, [parameters, columns]."""
    points = log.read_tensors(PLUGIN, run, [tensor]).get(tensor, [])
    row_count = len(layout.parameters)
    for point in points:
        shape = point.numpy.shape
        has_rows = len(shape) == 2 and shape[0] == row_count
        if not has_rows or point.numpy.dtype.kind != "f":
            raise Damaged(
                f"{tensor} at step {point.step}: given an array of shape {list(shape)},"
                f" expected numbers of shape [{row_count}, ...], a row for each parameter"
            )
    return [point.step for point in points], [point.numpy for point in points]


def _combine_rows(
    quantity: Quantity,
    tables: Sequence[np.ndarray],
    layout: Layout,
    groups: Iterable[list[int]],
) -> np.ndarray:
    """A quantity of each row, [rows, points]; `groups` are the parameters of each."""
    groups = list(groups)
    if not tables:
        return np.empty((len(groups), 0))
    inputs = read_columns(quantity, tables)
    known_sizes = [1 if size is None else size for size in layout.sizes]
    sizes = np.array(known_sizes, np.float64)[:, None]
    combined = []
    # Overflow gives infinity, which is shown.
    with np.errstate(all="ignore"):
        for indices in groups:
            columns = [column[indices] for column in inputs]
            combined.append(quantity.combine(*columns, sizes[indices]))
    return np.stack(combined)


def _latest_values(
    log: EventReader, run: str, layout: Layout
) -> dict[str, Any]:
    """`step` and `values` [layers] of each quantity that has a point, at its last one."""
    groups = layout.group_rows(LAYERS).values()
    points = {
        tensor: _read_points(log, run, tensor, layout) for tensor in TENSORS
    }
    latest = {}
    for name, quantity in QUANTITIES.items():
        steps, tables = points[quantity.tensor]
        if steps:
            values = _combine_rows(
                quantity, tables[-1:], layout, groups
            ).ravel()
            latest[name] = {
                "step": steps[-1],
                "values": _json_values(values.tolist()),
            }
    return latest


def _read_curve(log: EventReader, run: str, tag: str) -> dict[str, list]:
    points = log.read_scalars(run, [tag]).get(tag, [])
    steps = [point.step for point in points]
    values = [_json_number(point.value) for point in points]
    return {"steps": steps, "values": values}


def _read_incidents(log: EventReader, run: str) -> list[dict[str, Any]]:
    """`step` and `text` of each incident, in the order of the steps."""
    text_tags = log.list_tags("text").get(run, {})
    tags = [tag for tag in text_tags if tag.removeprefix(INCIDENTS).isdecimal()]
    if not tags:
        return []
    incidents = []
    for tag, points in log.read_tensors("text", run, tags).items():
        step = int(tag.removeprefix(INCIDENTS))
        incidents += [
            {"step": step, "text": _incident_text(point)} for point in points
        ]
    return sorted(incidents, key=lambda incident: incident["step"])


def _incident_text(point: Any) -> str:
    values = np.ravel(point.numpy).tolist()
    texts = [value for value in values if isinstance(value, bytes)]
    if not texts:
        return ""
    text = texts[0].decode(errors="replace")
    return text.removeprefix("```\n").removesuffix("```\n")


def _json_values(values: Iterable[float]) -> list[float | str | None]:
    return [None if value == NONE else _json_number(value) for value in values]


def _json_number(value: float) -> float | str:
    if math.isfinite(value):
        # Five digits are more than the page shows, and half the bytes.
        return float(f"{value:.5g}")
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
