"""The steps between two points of a curve, aggregated into the numbers of one point."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tftrain.core.evaluate import metric_values
from tftrain.core.types import LogData, Rows
from tftrain.core.variables import parameter_names

if TYPE_CHECKING:
    from tftrain.core.state import TrainState


Columns = dict[str, np.ndarray]  # [points] for each number of a point
# The values at each point; None where the metrics must be asked.
Metrics = Sequence[Mapping[str, float] | None]

PER_PARAMETER = {
    "grad_norms": "grad_norm",
    "clipped_grad_norms": "clipped_grad_norm",
}
_CLIPPED = "/clipped"  # 1 where a clip was active in a step; a point has the share, as its `rate`
_SECONDS = "seconds"  # how long each step took


class MetricAggregator:
    """Collects the numbers of steps, and turns those between two points of a curve into one point.

    A point has the means of the loss and of clip rates, the largest gradient norm, and the last value of everything
    else.

    Args:
        names: those of the parameters.
        metrics: Keras metrics that count the steps.
        steps_per_epoch: of the training split.
        hidden_ends: the indices of the first and the last hidden kernel, in models that are deep enough.
    """

    def __init__(
        self,
        names: Sequence[str],
        metrics: Sequence[Any],
        steps_per_epoch: int,
        hidden_ends: tuple[int, int] | None = None,
    ):
        self._vector_names = {
            vector: [f"{scalar}/{name}" for name in names]
            for vector, scalar in PER_PARAMETER.items()
        }
        self._share_names = [f"grad_share/{name}" for name in names]
        self._hidden_ends = hidden_ends
        self._metrics = metrics
        self._steps_per_epoch = steps_per_epoch
        # The scalars of steps that no point includes yet, and their last vectors, [1, parameters].
        self._waiting: list[dict[str, np.ndarray]] = []
        self._last_vectors: Rows = {}

    def state(self) -> dict[str, Any]:
        """Return what no point includes yet, as plain values that keep every bit."""
        if not self._waiting:
            # The last vectors are then not needed, and depend on how the steps were cut into calls.
            return {"waiting": {}, "last": {}}
        return {
            "waiting": _encode_rows(_join_rows(self._waiting)),
            "last": _encode_rows(self._last_vectors),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        waiting = _decode_rows(state["waiting"])
        self._waiting = [waiting] if waiting else []
        self._last_vectors = _decode_rows(state["last"])

    @property
    def waiting(self) -> int:
        """How many steps no point includes yet."""
        return sum(len(next(iter(rows.values()))) for rows in self._waiting)

    def clear(self) -> None:
        """Forget what no point includes yet."""
        self._waiting = []
        self._last_vectors = {}

    def add(self, rows: Rows, seconds: float) -> None:
        """Add the steps of a call without a point.

        Args:
            rows: their numbers.
            seconds: how long the call took.
        """
        self.aggregate(rows, seconds, (), 0, ())

    def flush(
        self, step: int, metrics: Mapping[str, float] | None = None
    ) -> LogData:
        """Return the point of all steps since the last one.

        Args:
            step: the last of them.
            metrics: their values; where they are not given the metrics are asked, and reset.
        """
        scalars = _join_rows(self._waiting)
        self._waiting = []
        stops = np.array([len(scalars["finite"])])
        [point] = self._make_points(
            scalars, self._last_vectors, [step], stops, [metrics]
        )
        return point

    def aggregate(
        self,
        rows: Rows,
        seconds: float,
        steps: Sequence[int],
        last_step: int,
        metrics: Metrics,
    ) -> list[tuple[int, LogData]]:
        """Add the steps of a call, and return its points in order.

        All points are computed together, since for a single one it is the calls of NumPy that take the time.

        Args:
            rows: the numbers of the steps.
            seconds: how long the call took.
            steps: those at which there are points.
            last_step: the last step of the call.
            metrics: the values at each point.
        """
        count = len(rows["finite"])
        scalars = {
            name: values
            for name, values in rows.items()
            if name not in self._vector_names
        }
        scalars[_SECONDS] = np.full(count, seconds / count)
        # How many rows of this call come before the end of each point.
        stops = np.array(steps, np.int64) - (last_step - count)
        if not len(stops):
            self._waiting.append(scalars)
            self._last_vectors = {
                name: rows[name][-1:] for name in self._vector_names
            }
            return []
        waited = sum(len(part["finite"]) for part in self._waiting)
        scalars = _join_rows([*self._waiting, scalars])
        self._waiting = []
        vectors = {name: rows[name][stops - 1] for name in self._vector_names}
        points = self._make_points(
            scalars, vectors, steps, stops + waited, metrics
        )
        if stops[-1] < count:
            remaining = {
                name: values[stops[-1] :] for name, values in rows.items()
            }
            self.add(remaining, seconds * (1 - stops[-1] / count))
        return list(zip(steps, points, strict=True))

    def _make_points(
        self,
        scalars: Rows,
        vectors: Rows,
        steps: Sequence[int],
        stops: np.ndarray,
        metrics: Metrics,
    ) -> list[LogData]:
        known_metrics = [
            self._ask_metrics() if values is None else values
            for values in metrics
        ]
        columns = self._make_columns(
            scalars, np.array(steps), stops, known_metrics
        )
        norms = np.asarray(vectors["grad_norms"], np.float64)
        if self._hidden_ends is not None:
            ratios = [depth_ratio(row, self._hidden_ends) for row in norms]
            columns["depth_ratio"] = np.array(ratios)
        names = list(columns)
        blocks = [np.stack([*columns.values()], 1)]
        for vector, vector_names in self._vector_names.items():
            names += vector_names
            blocks.append(vectors[vector])
        names += self._share_names
        blocks.append(_gradient_shares(norms))
        table = np.concatenate(blocks, 1, dtype=np.float64)
        return [
            LogData(dict(zip(names, row, strict=True)))
            for row in table.tolist()
        ]

    def _make_columns(
        self,
        rows: Rows,
        steps: np.ndarray,
        stops: np.ndarray,
        metrics: Sequence[Mapping[str, float]],
    ) -> Columns:
        starts = np.concatenate([[0], stops[:-1]])
        end = stops[-1]

        def sum_between(values: np.ndarray) -> np.ndarray:
            return np.add.reduceat(values[:end], starts, dtype=np.float64)

        counts = stops - starts
        finite_counts = sum_between(rows["finite"] > 0)
        has_loss = np.isfinite(rows["loss"])
        losses = np.where(has_loss, rows["loss"], 0)
        with np.errstate(invalid="ignore"):
            columns = {"loss": sum_between(losses) / sum_between(has_loss)}
        for name, values in rows.items():
            if name == "clip_rate" or name.endswith(_CLIPPED):
                rate_name = name.replace(_CLIPPED, "/rate")
                columns[rate_name] = sum_between(values) / counts
            elif name not in ("loss", "finite", _SECONDS):
                columns[name] = values[stops - 1]
        columns["grad_norm_max"] = np.fmax.reduceat(
            rows["grad_norm"][:end], starts
        )
        columns["nonfinite_steps"] = counts - finite_counts
        columns["step_ms"] = 1000 * sum_between(rows[_SECONDS]) / counts
        columns["epoch"] = steps / self._steps_per_epoch
        for name in metrics[0]:
            values = [point[name] for point in metrics]
            columns[name] = np.where(finite_counts > 0, values, np.nan)
        return columns

    def _ask_metrics(self) -> dict[str, float]:
        results = metric_values(self._metrics)
        for metric in self._metrics:
            metric.reset_state()
        return results


def new_aggregator(state: TrainState, steps_per_epoch: int) -> MetricAggregator:
    """Return the aggregator of a run.

    Args:
        state: all variables of the run.
        steps_per_epoch: of the training split.
    """
    names = parameter_names(state.model)
    ends = hidden_ends(names, state.model.trainable_variables)
    return MetricAggregator(names, state.metrics, steps_per_epoch, ends)


def _encode_rows(rows: Rows) -> dict[str, list]:
    """Return arrays as plain values that JSON can hold: their type, shape and bytes in base64."""
    encoded = {}
    for name, values in rows.items():
        text = base64.b64encode(values.tobytes()).decode()
        encoded[name] = [values.dtype.str, list(values.shape), text]
    return encoded


def _decode_rows(encoded: Mapping[str, list]) -> Columns:
    rows = {}
    for name, (dtype, shape, text) in encoded.items():
        rows[name] = np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
    return rows


def _join_rows(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }


def _gradient_shares(norms: np.ndarray) -> np.ndarray:
    """Return each parameter's share of the squared gradient norm, [points, parameters]."""
    squares = norms**2
    totals = squares.sum(axis=1, keepdims=True)
    is_known = (0 < totals) & (totals < np.inf)
    return np.where(is_known, squares / np.where(is_known, totals, 1), np.nan)


_SMALLEST_NORM = float(np.finfo(np.float32).smallest_subnormal)


def hidden_ends(
    names: Sequence[str], params: Sequence[Any]
) -> tuple[int, int] | None:
    """Return the indices of the first and of the last hidden layer's kernel among the parameters, if these are two.

    A kernel is the first parameter of rank 2 or more that a layer has, in model order; the last layer that has one is
    the output layer, and not hidden.

    Args:
        names: those of the parameters.
        params: the parameters.
    """
    kernels: dict[str, int] = {}
    for index, (name, param) in enumerate(zip(names, params, strict=True)):
        if len(param.shape) >= 2:
            kernels.setdefault(name.rpartition("/")[0], index)
    *hidden, _ = [*kernels.values()] or [None]
    return (hidden[0], hidden[-1]) if len(hidden) > 1 else None


def depth_ratio(norms: np.ndarray, ends: tuple[int, int]) -> float:
    """Return the first hidden kernel's gradient norm over the last one's; NaN where both are 0.

    A 0 beside a norm that is not 0 counts as the smallest float32 above it: nothing arrives, and TensorBoard, which is
    given the log10, would draw infinity at 0 decades, where all is well.

    Args:
        norms: of each parameter, [parameters] float64.
        ends: the indices of the two kernels.
    """
    first, last = (float(norms[end]) for end in ends)
    if first == 0 == last:
        return float("nan")
    return float(np.divide(first or _SMALLEST_NORM, last or _SMALLEST_NORM))
