"""The steps between two points of a curve, folded into the numbers of one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tftrain.core.depth import depth_ratio
from tftrain.core.evaluate import metric_values
from tftrain.core.types import Signals

Rows = dict[str, np.ndarray]  # [steps] for each scalar, [steps, parameters] for each vector

_PER_PARAMETER = {"grad_norms": "grad_norm", "clipped_grad_norms": "clipped_grad_norm"}
_CLIPPED = "/clipped"  # 1 where a clip bit in a step; of several steps the share is told, as its `rate`


class Window:
    """Gathers rows of steps until they are asked for as one Signals, then starts again.

    `ends` are the indices of the first and the last hidden kernel, in models that are deep enough.
    """

    def __init__(
        self, names: Sequence[str], metrics: Sequence[Any], steps_per_epoch: int, ends: tuple[int, int] | None = None
    ):
        self._names = names
        self._ends = ends
        self._metrics = metrics
        self._steps_per_epoch = steps_per_epoch
        self._clear()

    def _clear(self) -> None:
        self._scalars: dict[str, list[np.ndarray]] = {}
        self._vectors: Rows = {}
        self._seconds = 0.0

    def add(self, rows: Rows, seconds: float) -> None:
        """Take in the rows of one call, and the time that it took."""
        for name, values in rows.items():
            if name in _PER_PARAMETER:
                self._vectors[name] = values[-1]
            else:
                self._scalars.setdefault(name, []).append(values)
        self._seconds += seconds

    def fold(self, step: int) -> Signals:
        """One point: means of loss and clip rates, the largest gradient norm, the last value of everything else."""
        rows = {name: np.concatenate(parts) for name, parts in self._scalars.items()}
        finite = rows.pop("finite") > 0
        scalars = {name: float(values[-1]) for name, values in rows.items() if not name.endswith(_CLIPPED)}
        scalars |= self._means(rows)
        scalars["grad_norm_max"] = float(np.fmax.reduce(rows["grad_norm"]))
        scalars["nonfinite_steps"] = float(np.sum(~finite))
        scalars["steps_per_second"] = len(finite) / self._seconds
        scalars["epoch"] = step / self._steps_per_epoch
        scalars |= self._metric_results(any(finite)) | self._per_parameter() | self._shares()
        self._clear()
        return Signals(scalars)

    def _means(self, rows: Rows) -> dict[str, float]:
        losses = rows["loss"][np.isfinite(rows["loss"])]
        means = {"loss": float(np.mean(losses, dtype=np.float64)) if losses.size else float("nan")}
        clipped = {name: values for name, values in rows.items() if name == "clip_rate" or name.endswith(_CLIPPED)}
        return means | {name.replace(_CLIPPED, "/rate"): float(np.mean(values)) for name, values in clipped.items()}

    def _metric_results(self, seen: bool) -> dict[str, float]:
        results = metric_values(self._metrics)
        for metric in self._metrics:
            metric.reset_state()
        return results if seen else dict.fromkeys(results, float("nan"))

    def _per_parameter(self) -> dict[str, float]:
        return {
            f"{shown}/{name}": float(value)
            for vector, shown in _PER_PARAMETER.items()
            for name, value in zip(self._names, self._vectors[vector], strict=True)
        }

    def _shares(self) -> dict[str, float]:
        """Where the gradient is: each parameter's share of the squared norm, and the depth ratio."""
        norms = self._vectors["grad_norms"].astype(np.float64)
        total = np.sum(norms**2)
        shares = norms**2 / total if 0 < total < np.inf else np.full_like(norms, np.nan)
        found = {f"grad_share/{name}": float(share) for name, share in zip(self._names, shares, strict=True)}
        return found if self._ends is None else found | {"depth_ratio": depth_ratio(norms, self._ends)}
