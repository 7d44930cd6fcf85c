"""The gradient norm of every layer over the steps, as the data that `report.js` draws."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tftrain.reporting.html.markup import Markup, element
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.tensorboard.protocol import NONE

PARAMETER_NORM = "grad_norm/"
MAX_POINTS = 600


class LayerNorms(NamedTuple):
    """Gradient norms of layers, first layer first.

    Attributes:
        layers: names of the layers.
        steps: int64 [points].
        norms: float64 [layers, points]; NONE where a layer has no gradient at a step.
    """

    layers: list[str]
    steps: np.ndarray
    norms: np.ndarray


def layer_norms(history: Mapping[str, Series]) -> LayerNorms | None:
    """Combine the gradient norms of each layer's parameters; None if no norm was logged."""
    series_by_layer: dict[str, list[Series]] = {}
    for name, series in history.items():
        if name.startswith(PARAMETER_NORM):
            layer = name.removeprefix(PARAMETER_NORM).rpartition("/")[0]
            series_by_layer.setdefault(layer, []).append(series)
    if not series_by_layer:
        return None
    all_series = [
        series for group in series_by_layer.values() for series in group
    ]
    steps = np.unique(np.concatenate([series.steps for series in all_series]))
    norms = np.full((len(series_by_layer), len(steps)), NONE)
    for row, group in zip(norms, series_by_layer.values(), strict=True):
        for series in group:
            points = np.searchsorted(steps, series.steps)
            previous = np.where(row[points] == NONE, 0, row[points])
            row[points] = np.hypot(previous, series.values)
    return LayerNorms(list(series_by_layer), steps, norms)


def limit_points(data: LayerNorms, max_points: int = MAX_POINTS) -> LayerNorms:
    """Merge neighbouring points until at most `max_points` are left.

    A merged point has the last step of its group and each layer's largest norm, so no
    spike is lost; NaN counts as larger than any number.
    """
    if len(data.steps) <= max_points:
        return data
    groups = np.array_split(np.arange(len(data.steps)), max_points)
    last_steps = data.steps[[group[-1] for group in groups]]
    largest = np.stack(
        [data.norms[:, group].max(axis=1) for group in groups], axis=1
    )
    return LayerNorms(data.layers, last_steps, largest)


def gradient_map(run_name: str, data: LayerNorms) -> Markup:
    """Return a figure for one run; its data are drawn by `report.js` when the page opens."""
    drawn = limit_points(data)
    norms = drawn.norms.astype("<f4").tobytes()
    is_zero = data.norms == 0
    is_nonfinite = ~np.isfinite(data.norms)
    description = (
        f"Gradient norms of {run_name}: {len(data.layers)} layers over steps"
        f" {data.steps[0]} to {data.steps[-1]}, exactly zero in {is_zero.mean():.1%},"
        f" NaN or infinite in {is_nonfinite.mean():.1%} of the cells"
    )
    canvas = element(
        "div",
        class_="gradient-map",
        data_label=description,
        data_layers=json.dumps(data.layers),
        data_steps=json.dumps(drawn.steps.tolist()),
        data_norms=base64.b64encode(norms).decode(),
    )
    caption = element("figcaption", element("b", run_name))
    return element("figure", caption, canvas)
