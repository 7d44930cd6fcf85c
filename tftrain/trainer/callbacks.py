"""Callbacks of a run: the best checkpoint, early stopping, rates that follow a scalar, and signals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tftrain.core import workers
from tftrain.core.callback import Callback
from tftrain.core.types import LogData, Rate, Stop, Tree
from tftrain.core.variables import assign_values, read_values
from tftrain.runtime.metric_mode import metric_mode
from tftrain.trainer.signals import SignalState, StopRequested


class BestTracker:
    """The best value of a scalar so far; NaN and infinity are never better.

    Args:
        monitor: the name of the scalar, such as `val_loss`.
        mode: `min`, `max`, or `auto` for what the name tells.
        min_delta: a value is better only by more than this.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        self.monitor = monitor
        self.value: float | None = None
        self.step: int | None = None
        self._sign = 1.0 if metric_mode(monitor, mode) == "min" else -1.0
        self._min_delta = min_delta

    @property
    def is_of_training(self) -> bool:
        """Whether the scalar is one of training, not of validation."""
        return not self.monitor.startswith("val_")

    def update(self, step: int, value: float) -> bool:
        """Take in a value, and return whether it is the best so far.

        Args:
            step: the step that it is of.
            value: that of the scalar.
        """
        value = float(value)
        if not math.isfinite(value):
            return False
        if self.value is not None:
            improvement = self._sign * (self.value - value)
            if improvement <= self._min_delta:
                return False
        self.value = value
        self.step = step
        return True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self.value, "best_step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.value = state["best"]
        self.step = state["best_step"]


class BestCheckpointSaver(Callback):
    """Saves a checkpoint whenever the monitored scalar is better than ever before.

    Args:
        save_best: called with the step.
        best: of the scalar.
    """

    phase = "checkpoints"

    def __init__(self, save_best: Callable[[int], Any], best: BestTracker):
        self._save_best = save_best
        self.best = best
        self.needs_each_point = best.is_of_training

    def on_log(self, step: int, data: LogData) -> None:
        """Save where the point has a better value.

        Args:
            step: that of the point.
            data: the point.
        """
        value = data.scalars.get(self.best.monitor)
        if value is not None and self.best.update(step, value):
            self._save_best(step)


class EarlyStopping(Callback):
    """Ends the run once a scalar has not improved for some evaluations.

    An evaluation is a step at which the scalar was logged.

    Args:
        monitor: the name of the scalar, such as `val_loss`.
        patience: how many evaluations without an improvement end the run.
        min_delta: an improvement is more than this.
        mode: `min`, `max`, or `auto` for what the name tells.
    """

    def __init__(
        self,
        monitor: str,
        patience: int,
        min_delta: float = 0.0,
        mode: str = "auto",
    ):
        self.best = BestTracker(monitor, mode, min_delta)
        self._patience = patience
        self._evaluations = 0  # since the last improvement
        self.needs_each_point = self.best.is_of_training

    def on_log(self, step: int, data: LogData) -> None:
        """Count an evaluation.

        Args:
            step: that of the point.
            data: the point; it counts where it has the scalar.

        Raises:
            Stop: it was the last one.
        """
        value = data.scalars.get(self.best.monitor)
        if value is None:
            return
        if self.best.update(step, value):
            self._evaluations = 0
        else:
            self._evaluations += 1
        if self.is_over():
            raise Stop(self.reason())

    def is_over(self) -> bool:
        """Return whether the run is to end."""
        return self._evaluations >= self._patience

    def may_be_next(self) -> bool:
        """Return whether one more evaluation without an improvement ends the run."""
        return self._evaluations + 1 >= self._patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return self.best.state() | {"looks": self._evaluations}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.best.restore(state)
        self._evaluations = state["looks"]

    def reason(self) -> str:
        """Return why the run ends, in one line."""
        plural = "s" if self._evaluations > 1 else ""
        count = f"{self._evaluations} evaluation{plural}"
        if self.best.value is None:
            return f"{self.best.monitor} has not been finite for {count}"
        return (
            f"{self.best.monitor} has not improved on {self.best.value:.4g} for {count} "
            f"since step {self.best.step}"
        )


class Monitors(NamedTuple):
    """What watches a scalar in a run.

    Args:
        best: for the best checkpoint; None where none is kept.
        stopping: None without early stopping.
        rate_monitors: the scalars that the learning rate follows.
    """

    best: BestTracker | None
    stopping: EarlyStopping | None
    rate_monitors: tuple[str, ...] = ()


class RateFeedback(Callback):
    """Passes logged scalars to a learning rate that follows them, such as `plateau`.

    Args:
        rate: with a `heed`.
        variables: its state, which the step reads.
        monitors: the scalars that it follows; none where that is not known.
    """

    phase = "checkpoints"

    def __init__(self, rate: Rate, variables: Tree, monitors: tuple[str, ...]):
        self._heed = rate.heed
        self._variables = variables
        is_validation = [name.startswith("val_") for name in monitors]
        self.needs_each_point = not monitors or not all(is_validation)

    def on_log(self, step: int, data: LogData) -> None:
        """Update the state of the rate."""
        state = self._heed(read_values(self._variables), data.scalars)
        assign_values(self._variables, state)


class StopOnSignal(Callback):
    """Ends training after the call in which a signal came.

    Args:
        signals: the signals of this process.
        strategy: a tf.distribute.Strategy, or None; of several workers, one that was signalled is enough.
    """

    def __init__(self, signals: SignalState, strategy: Any):
        self._signals = signals
        self._strategy = strategy

    def should_stop(self) -> StopRequested | None:
        """Return the reason to stop where a worker was signalled."""
        number = workers.max_over_workers(self._signals.number, self._strategy)
        return StopRequested(number) if number else None
