"""The steps between two points of a curve, folded into the numbers of one point."""

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
Metrics = Sequence[
    Mapping[str, float] | None
]  # the values at each point; None where the metrics must be asked

PER_PARAMETER = {"grad_norms": "grad_norm", "clipped_grad_norms": "clipped_grad_norm"}
_CLIPPED = "/clipped"  # 1 where a clip bit in a step; of several steps the share is told, as its `rate`
_SECONDS = "seconds"  # how long each step took


class MetricAggregator:
    """Gathers rows of steps until they are asked for as Signals, then starts again.

    A point has the means of loss and clip rates, the largest gradient norm, and the last value of everything else.
    `ends` are the indices of the first and the last hidden kernel, in models that are deep enough.
    """

    def __init__(
        self,
        names: Sequence[str],
        metrics: Sequence[Any],
        steps_per_epoch: int,
        ends: tuple[int, int] | None = None,
    ):
        self._vectors = {
            vector: [f"{shown}/{name}" for name in names]
            for vector, shown in PER_PARAMETER.items()
        }
        self._shares = [f"grad_share/{name}" for name in names]
        self._ends = ends
        self._metrics = metrics
        self._steps_per_epoch = steps_per_epoch
        self._waiting: list[
            dict[str, np.ndarray]
        ] = []  # the scalars of the steps that no point has taken in
        self._last: Rows = {}  # their last vectors, [1, parameters]

    def state(self) -> dict[str, Any]:
        """What no point has taken in yet, in plain values that keep every bit."""
        if not self._waiting:  # the last vectors are then of no use, and go by how the steps were cut into calls
            return {"waiting": {}, "last": {}}
        return {
            "waiting": _encoded(_joined(self._waiting)),
            "last": _encoded(self._last),
        }

    def restore(self, state: dict[str, Any]) -> None:
        waiting = _decoded(state["waiting"])
        self._waiting, self._last = (
            [waiting] if waiting else [],
            _decoded(state["last"]),
        )

    @property
    def waiting(self) -> int:
        """How many steps no point has taken in yet."""
        return sum(len(next(iter(rows.values()))) for rows in self._waiting)

    def clear(self) -> None:
        """Forget what no point has taken in yet."""
        self._waiting, self._last = [], {}

    def add(self, rows: Rows, seconds: float) -> None:
        """Takes in the rows of one call, and the time that it took."""
        self.aggregate(rows, seconds, (), 0, ())

    def flush(self, step: int, metrics: Mapping[str, float] | None = None) -> LogData:
        """The point of all steps since the last one; metrics that are not given are asked, and reset."""
        scalars, self._waiting = _joined(self._waiting), []
        [signals] = self._fold(
            scalars, self._last, [step], np.array([len(scalars["finite"])]), [metrics]
        )
        return signals

    def aggregate(
        self,
        rows: Rows,
        seconds: float,
        steps: Sequence[int],
        last_step: int,
        metrics: Metrics,
    ) -> list[tuple[int, LogData]]:
        """The points at `steps`, in order, within one call that ended at `last_step`; what is left over waits.

        All points are computed together, since for one of them it is the calls of NumPy that cost.
        """
        done = len(rows["finite"])
        scalars = {
            name: values for name, values in rows.items() if name not in self._vectors
        }
        scalars[_SECONDS] = np.full(done, seconds / done)
        stops = np.array(steps, np.int64) - (
            last_step - done
        )  # counted in the rows of this call
        if not len(stops):
            self._waiting.append(scalars)
            self._last = {name: rows[name][-1:] for name in self._vectors}
            return []
        waited = sum(len(part["finite"]) for part in self._waiting)
        scalars, self._waiting = _joined([*self._waiting, scalars]), []
        vectors = {name: rows[name][stops - 1] for name in self._vectors}
        folded = self._fold(scalars, vectors, steps, stops + waited, metrics)
        if stops[-1] < done:
            self.add(
                {name: values[stops[-1] :] for name, values in rows.items()},
                seconds * (1 - stops[-1] / done),
            )
        return list(zip(steps, folded, strict=True))

    def _fold(
        self,
        scalars: Rows,
        vectors: Rows,
        steps: Sequence[int],
        stops: np.ndarray,
        metrics: Metrics,
    ) -> list[LogData]:
        columns = self._columns(scalars, np.array(steps), stops, self._told(metrics))
        norms = np.asarray(vectors["grad_norms"], np.float64)
        if self._ends is not None:
            columns["depth_ratio"] = np.array(
                [depth_ratio(row, self._ends) for row in norms]
            )
        names = [
            *columns,
            *(name for vector in self._vectors.values() for name in vector),
            *self._shares,
        ]
        blocks = [
            np.stack([*columns.values()], 1),
            *(vectors[vector] for vector in self._vectors),
            _shares(norms),
        ]
        table = np.concatenate(blocks, 1, dtype=np.float64)
        return [LogData(dict(zip(names, row, strict=True))) for row in table.tolist()]

    def _columns(
        self,
        rows: Rows,
        steps: np.ndarray,
        stops: np.ndarray,
        metrics: Sequence[Mapping[str, float]],
    ) -> Columns:
        starts, end = np.concatenate([[0], stops[:-1]]), stops[-1]

        def totals(values: np.ndarray) -> np.ndarray:
            return np.add.reduceat(values[:end], starts, dtype=np.float64)

        finite, counts = totals(rows["finite"] > 0), stops - starts
        kept = np.isfinite(rows["loss"])
        with np.errstate(invalid="ignore"):
            columns = {"loss": totals(np.where(kept, rows["loss"], 0)) / totals(kept)}
        for name, values in rows.items():
            if name == "clip_rate" or name.endswith(_CLIPPED):
                columns[name.replace(_CLIPPED, "/rate")] = totals(values) / counts
            elif name not in ("loss", "finite", _SECONDS):
                columns[name] = values[stops - 1]
        columns["grad_norm_max"] = np.fmax.reduceat(rows["grad_norm"][:end], starts)
        columns["nonfinite_steps"] = counts - finite
        columns["step_ms"] = 1000 * totals(rows[_SECONDS]) / counts
        columns["epoch"] = steps / self._steps_per_epoch
        for name in metrics[0]:
            columns[name] = np.where(finite > 0, [one[name] for one in metrics], np.nan)
        return columns

    def _told(self, metrics: Metrics) -> list[Mapping[str, float]]:
        return [self._metric_results() if one is None else one for one in metrics]

    def _metric_results(self) -> dict[str, float]:
        results = metric_values(self._metrics)
        for metric in self._metrics:
            metric.reset_state()
        return results


def new_window(state: TrainState, steps_per_epoch: int) -> MetricAggregator:
    """The window of a run from the state's step on."""
    names = parameter_names(state.model)
    ends = hidden_ends(names, state.model.trainable_variables)
    return MetricAggregator(names, state.metrics, steps_per_epoch, ends)


def _encoded(rows: Rows) -> dict[str, list]:
    return {
        name: [
            values.dtype.str,
            list(values.shape),
            base64.b64encode(values.tobytes()).decode(),
        ]
        for name, values in rows.items()
    }


def _decoded(encoded: Mapping[str, list]) -> Columns:
    return {
        name: np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
        for name, (dtype, shape, text) in encoded.items()
    }


def _joined(parts: Sequence[Rows]) -> Rows:
    first, *others = parts
    if not others:
        return first
    return {
        name: np.concatenate([values, *(part[name] for part in others)])
        for name, values in first.items()
    }


def _shares(norms: np.ndarray) -> np.ndarray:
    """Where the gradient is: each parameter's share of the squared norm, [points, parameters]."""
    squares = norms**2
    totals = squares.sum(axis=1, keepdims=True)
    known = (0 < totals) & (totals < np.inf)
    return np.where(known, squares / np.where(known, totals, 1), np.nan)


_LEAST = float(np.finfo(np.float32).smallest_subnormal)


def hidden_ends(names: Sequence[str], params: Sequence[Any]) -> tuple[int, int] | None:
    """Where the kernels of the first and of the last hidden layer stand among the parameters, if these are two.

    A kernel is the first parameter of rank 2 or more that a layer has, in model order; the last layer that has one is
    the output layer, and not hidden.
    """
    kernels: dict[str, int] = {}
    for index, (name, param) in enumerate(zip(names, params, strict=True)):
        if len(param.shape) >= 2:
            kernels.setdefault(name.rpartition("/")[0], index)
    *hidden, _ = [*kernels.values()] or [None]
    return (hidden[0], hidden[-1]) if len(hidden) > 1 else None


def depth_ratio(norms: np.ndarray, ends: tuple[int, int]) -> float:
    """The first hidden kernel's gradient norm over the last one's; NaN where both are 0.

    A 0 beside a norm that is none counts as the least float32 above it: nothing arrives, and TensorBoard, which is
    given the log10, would draw infinity at 0 decades, where all is well.

    Args:
        norms: of each parameter, [parameters] float64.
        ends: the indices of the two kernels.
    """
    first, last = (float(norms[end]) for end in ends)
    if first == 0 == last:
        return float("nan")
    return float(np.divide(first or _LEAST, last or _LEAST))
