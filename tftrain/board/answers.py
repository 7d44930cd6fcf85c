"""What the page of the Gradients tab asks for, as values that JSON can hold.

A number that is not finite is the text NaN, Infinity or -Infinity; one that there is not is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from tftrain.board.log import Log
from tftrain.gradient_map import NONE, PLUGIN, TENSORS, VERSION

HISTOGRAMS = {"log10": "grad_hist_log10", "value": "grad_hist"}  # by axis
CURVES = {"loss": "Overview/loss", "clip_rate": "Overview/clip_rate", "nonfinite_steps": "Overview/nonfinite_steps"}
INCIDENTS = "incidents/"


class Unknown(LookupError):
    """The log has no such run, parameter or quantity."""


def runs(log: Log) -> dict[str, Any]:
    """Every run that has a map: its parameters in the model's order, their sizes, and when it began."""
    started = log.started()
    found = {run: _content(tags) for run, tags in log.tags(PLUGIN).items()}
    return {
        run: {"parameters": one["parameters"], "sizes": one["sizes"], "started": started.get(run, 0.0)}
        for run, one in sorted(found.items())
        if one["version"] == VERSION
    }


def table(log: Log, run: str, quantity: str) -> dict[str, Any]:
    """One quantity over a run: `steps` [points] and `values` [parameters, points]."""
    tag = next((tag for tag, quantities in TENSORS.items() if quantity in quantities), None)
    if tag is None:
        raise Unknown(f"no quantity {quantity!r}; expected one of {', '.join(sum(TENSORS.values(), ()))}")
    column = TENSORS[tag].index(quantity)
    points = _known(log, run) and log.tensors(PLUGIN, run, [tag]).get(tag, [])
    columns = zip(*(point.numpy[:, column].tolist() for point in points), strict=True)
    return {"steps": [point.step for point in points], "values": [_quantities(column) for column in columns]}


def history(log: Log, run: str, parameter: str) -> dict[str, Any]:
    """Every quantity of one parameter over a run: `steps` [points] and `values` [points] of each."""
    row = _row(log, run, parameter)
    found = {}
    for tag, points in log.tensors(PLUGIN, run, [*TENSORS]).items():
        steps, rows = [point.step for point in points], [point.numpy[row].tolist() for point in points]
        for quantity, values in zip(TENSORS[tag], zip(*rows, strict=True), strict=True):
            found[quantity] = {"steps": steps, "values": _quantities(values)}
    return found


def histogram(log: Log, run: str, parameter: str, step: str) -> dict[str, Any]:
    """The histogram of a parameter's gradient that is nearest to a step, as rows of left, right, count."""
    _row(log, run, parameter)
    if not step.isdecimal():
        raise Unknown(f"no step {step!r}; expected a number")
    wanted = int(step)
    for axis, head in HISTOGRAMS.items():
        for points in log.tensors("histograms", run, [f"{head}/{parameter}"]).values():
            point = min(points, key=lambda point: abs(point.step - wanted))
            return {"axis": axis, "step": point.step, "rows": [_numbers(row) for row in point.numpy.tolist()]}
    return {"axis": None, "step": None, "rows": []}


def course(log: Log, run: str) -> dict[str, Any]:
    """What stands above the map: curves of training and validation, and the incidents."""
    _known(log, run)
    curves = {name: _curve(log, run, tag) for name, tag in CURVES.items()}
    validation = _curve(log, "val" if run == "." else f"{run}/val", CURVES["loss"])
    tags = [tag for tag in log.tags("text").get(run, {}) if tag.startswith(INCIDENTS)]
    texts = log.tensors("text", run, tags) if tags else {}
    incidents = [_incident(tag, point) for tag, points in texts.items() for point in points]
    return {**curves, "val_loss": validation, "incidents": sorted(incidents, key=lambda one: one["step"])}


def _content(tags: dict[str, bytes]) -> dict[str, Any]:
    return json.loads(next(iter(tags.values())))


def _known(log: Log, run: str) -> dict[str, Any]:
    tags = log.tags(PLUGIN).get(run)
    if not tags:
        raise Unknown(f"no run {run!r} with gradients in this log")
    return _content(tags)


def _row(log: Log, run: str, parameter: str) -> int:
    parameters = _known(log, run)["parameters"]
    if parameter not in parameters:
        raise Unknown(f"no parameter {parameter!r} in run {run!r}")
    return parameters.index(parameter)


def _curve(log: Log, run: str, tag: str) -> dict[str, list]:
    points = log.scalars(run, [tag]).get(tag, [])
    return {"steps": [point.step for point in points], "values": _numbers(point.value for point in points)}


def _incident(tag: str, point: Any) -> dict[str, Any]:
    text = point.numpy.tolist()[0].decode(errors="replace")
    return {"step": int(tag.removeprefix(INCIDENTS)), "text": text.removeprefix("```\n").removesuffix("```\n")}


def _quantities(values: Iterable[float]) -> list[float | str | None]:
    return [None if value == NONE else _number(value) for value in values]


def _numbers(values: Iterable[float]) -> list[float | str]:
    return [_number(value) for value in values]


def _number(value: float) -> float | str:
    """Five digits are more than a picture shows, and half the bytes."""
    if math.isfinite(value):
        return float(f"{value:.5g}")
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
