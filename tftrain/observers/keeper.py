"""What acts on the signals of a run: keeping the last and the best checkpoint, and stopping early."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from tftrain.core.types import Signals, Stop

# Loss and error come first: `auc_loss` is a loss.
LOWER = re.compile(r"loss|error|divergence|entropy|norm|false_(posi|nega)tives", re.IGNORECASE)
HIGHER = re.compile(
    r"accuracy|precision|recall|sensitivity|specificity|similarity|f_?beta|jaccard|kappa|psnr|ssim|bleu|rouge"
    r"|correlation|true_(posi|nega)tives|(^|[/_])(mean_|binary_)?(acc|auc|f1|r2|iou|io_?u|dice|map|ndcg|mrr|pearson|reward)"
    r"([/_\d]|$)",
    re.IGNORECASE,
)


def direction(name: str, mode: str = "auto") -> str:
    """Returns whether a smaller or a larger value of the scalar is better: "min" or "max"."""
    if mode != "auto":
        return mode
    return "max" if HIGHER.search(name) and not LOWER.search(name) else "min"


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


class Keeper:
    """An observer that saves every `every_steps` steps, and whenever the monitored scalar is better than ever before.

    `save(step)` and `save_best(step)` do the saving.
    """

    def __init__(
        self,
        save: Callable[[int], Any],
        save_best: Callable[[int], Any],
        every_steps: int,
        monitor: str,
        mode: str = "auto",
    ):
        self._save = save
        self._save_best = save_best
        self.every_steps = every_steps
        self.best = Best(monitor, mode)
        self._saved_step = 0

    def __call__(self, step: int, signals: Signals) -> None:
        value = signals.scalars.get(self.best.monitor)
        if value is not None and self.best.improved(step, value):
            self._save_best(step)
        if step // self.every_steps > self._saved_step // self.every_steps:
            self._saved_step = step  # before saving, so that the checkpoint says that it was made
            self._save(step)

    def state(self) -> dict[str, Any]:
        return {"best": self.best.value, "best_step": self.best.step, "saved_step": self._saved_step}

    def restore(self, state: dict[str, Any]) -> None:
        self.best.value, self.best.step = state["best"], state["best_step"]
        self._saved_step = state["saved_step"]


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
        if self._looks >= self._patience:
            raise Stop(self._reason())

    def state(self) -> dict[str, Any]:
        return {"best": self.best.value, "best_step": self.best.step, "looks": self._looks}

    def restore(self, state: dict[str, Any]) -> None:
        self.best.value, self.best.step, self._looks = state["best"], state["best_step"], state["looks"]

    def _reason(self) -> str:
        looks = f"{self._looks} look{'s' if self._looks > 1 else ''}"
        if self.best.value is None:
            return f"{self.best.monitor} has not been finite for {looks}"
        return f"{self.best.monitor} has not improved on {self.best.value:.4g} for {looks} since step {self.best.step}"
