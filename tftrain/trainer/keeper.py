"""What acts on the signals of a run: keeping the best checkpoint, and stopping early."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tftrain.core.types import Signals, Stop
from tftrain.runtime.metric_mode import direction


class Best:
    """Owns the best value of a scalar so far; NaN and infinity are never better."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        self.monitor = monitor
        self.value: float | None = None
        self.step: int | None = None
        self._sign = 1.0 if direction(monitor, mode) == "min" else -1.0
        self._min_delta = min_delta

    def improved(self, step: int, value: float) -> bool:
        """Takes a value in; returns whether it is better by more than `min_delta`."""
        value = float(value)
        first = self.value is None
        better = math.isfinite(value) and (first or self._sign * (self.value - value) > self._min_delta)
        if better:
            self.value, self.step = value, step
        return better

    def state(self) -> dict[str, Any]:
        return {"best": self.value, "best_step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        self.value, self.step = state["best"], state["best_step"]


class Keeper:
    """An observer that saves with `save_best(step)` whenever the monitored scalar is better than ever before."""

    def __init__(self, save_best: Callable[[int], Any], best: Best):
        self._save_best = save_best
        self.best = best

    def __call__(self, step: int, signals: Signals) -> None:
        value = signals.scalars.get(self.best.monitor)
        if value is not None and self.best.improved(step, value):
            self._save_best(step)


class EarlyStopping:
    """An observer that raises Stop once the scalar has not improved by more than `min_delta` for `patience` looks.

    A look is a step at which the scalar was logged.
    """

    def __init__(self, monitor: str, patience: int, min_delta: float = 0.0, mode: str = "auto"):
        self.best = Best(monitor, mode, min_delta)
        self._patience = patience
        self._looks = 0

    def __call__(self, step: int, signals: Signals) -> None:
        value = signals.scalars.get(self.best.monitor)
        if value is None:
            return
        self._looks = 0 if self.best.improved(step, value) else self._looks + 1
        if self.is_over():
            raise Stop(self.reason())

    def is_over(self) -> bool:
        return self._looks >= self._patience

    def may_be_next(self) -> bool:
        """Whether one more look without an improvement ends the run."""
        return self._looks + 1 >= self._patience

    def state(self) -> dict[str, Any]:
        return self.best.state() | {"looks": self._looks}

    def restore(self, state: dict[str, Any]) -> None:
        self.best.restore(state)
        self._looks = state["looks"]

    def reason(self) -> str:
        looks = f"{self._looks} look{'s' if self._looks > 1 else ''}"
        if self.best.value is None:
            return f"{self.best.monitor} has not been finite for {looks}"
        return f"{self.best.monitor} has not improved on {self.best.value:.4g} for {looks} since step {self.best.step}"
