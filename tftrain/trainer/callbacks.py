"""Who is told of a run while it goes on: the files, the terminal, and those who have a say in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tftrain.config.rules import rate_monitors, unlogged
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core.background import Aside
from tftrain.core.bad_steps import SkippedSteps
from tftrain.core.callback import Callback
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import LogData, Observer, Stop
from tftrain.core.variables import assign_values, read_values
from tftrain.reporting.console import Console
from tftrain.reporting.metrics_file import read_metrics
from tftrain.reporting.plots.files import PlotFiles
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.reporting.tensorboard.profiler import Profiler
from tftrain.runtime import run_dir
from tftrain.runtime.errors import InputError
from tftrain.runtime.metric_mode import metric_mode

if TYPE_CHECKING:
    from tftrain.core.bad_steps import BadStep
    from tftrain.trainer.build import RunContext
    from tftrain.trainer.checkpointing import RunCheckpointer
    from tftrain.trainer.incidents import Incidents
    from tftrain.trainer.plotting import PlotCallback


class CallbackList:
    """Owns what a session writes while it trains: the `files` are observers that only write."""

    def __init__(
        self,
        run: RunContext,
        files: Sequence[Observer],
        monitored: Monitors,
        memory: RunCheckpointer,
        incidents: Incidents,
    ):
        self._run, self._files, self._monitored, self._memory = (
            run,
            files,
            monitored,
            memory,
        )
        self._incidents = incidents
        self._boards = [one for one in files if isinstance(one, TensorBoardLogger)]

    @contextmanager
    def sinks(
        self,
        folder: Path,
        skips: SkippedSteps,
        ledger: PhaseTimer,
        each_point: bool,
        gallery: PlotCallback,
    ) -> Iterator[Callback]:
        """Everyone who is told, of `each_point` before another step is taken; what writes is closed at the end."""
        written = Aside(self._files)
        with ExitStack() as ending:
            ending.callback(ledger.timed("writing", written.close))
            heard = [
                skips.add,
                *(one.on_call for one in self._files if isinstance(one, Console)),
            ]
            if self._files and self._run.config.log.profile:
                profile = Profiler(folder, *self._run.config.log.profile)
                ending.callback(profile.close)
                heard.append(ledger.timed("profile", profile.on_call))
                heard[-1](self._memory.start)
            yield Callback(
                self._watchers(written),
                on_call=lambda step, row: [tell(step, row) for tell in heard],
                save=self._saving(written, ledger),
                draw=self._drawing(written, folder, gallery, ledger),
                record=written,
                on_trouble=ledger.timed("incidents", self._noting(written, skips)),
                each_point=each_point,
                ledger=ledger,
            )

    def _saving(self, written: Aside, ledger: PhaseTimer) -> Callable[[int], None]:
        def save(step: int) -> None:
            with ledger.phase(
                "writing"
            ):  # a run that goes on from here has all points up to here
                written.drain()
                for sync in [one.sync for one in self._files if hasattr(one, "sync")]:
                    sync()
            self._memory.save(step)

        return save

    def _drawing(
        self, written: Aside, folder: Path, gallery: PlotCallback, ledger: PhaseTimer
    ) -> Callable[..., None]:
        shown = [*self._boards, PlotFiles(folder / run_dir.PICTURES)]

        def draw(step: int, last: bool = False) -> None:
            written.drain()  # pictures show the curves so far, and the files are that thread's
            found = gallery.draw(
                step, lambda: read_metrics(folder / run_dir.METRICS), last
            )
            if found.images:
                for observer in shown:
                    observer(step, found)
                for board in self._boards:
                    board.flush()

        return (
            ledger.timed("pictures", draw)
            if self._files
            else lambda step, last=False: None
        )

    def _noting(self, written: Aside, skips: SkippedSteps) -> Callable[[BadStep], None]:
        def note(trouble: BadStep) -> None:
            skips.record(trouble.step, trouble.kind == "spike")
            found = self._incidents.add(trouble)
            if found.texts:
                written.drain()  # the files are that thread's
                for board in self._boards:
                    board(trouble.step, found)

        return note

    def _watchers(self, written: Aside) -> list[Observer]:
        best, stopping, _ = self._monitored
        heeding = [self._heed] if self._run.recipe.rate.heed else []

        def keep(step: int) -> None:
            written.drain()  # what is remembered of the points is of all up to here
            self._memory.save_best(step)

        keeping = [BestCheckpointSaver(keep, best)] if best else []
        return [*heeding, *keeping, *([stopping] if stopping else [])]

    def _heed(self, step: int, signals: LogData) -> None:
        """Lets the rate see what was logged."""
        held = self._run.state.rate
        assign_values(
            held, self._run.recipe.rate.heed(read_values(held), signals.scalars)
        )


class Monitors(NamedTuple):
    """Who watches a scalar; None where nobody asked. `scalars` are all that is watched, also by the learning rate."""

    best: BestTracker | None
    stopping: EarlyStopping | None
    scalars: tuple[str, ...] = ()

    def by_name(self) -> dict[str, Any]:
        owners = {"best": self.best, "stopping": self.stopping}
        return {name: owner for name, owner in owners.items() if owner is not None}


def make_monitors(config: Config, validated: bool, metrics: Sequence[str]) -> Monitors:
    """Who watches which scalar; raises InputError where it is one that will not be there.

    `validated` is whether there is a validation, `metrics` are the names of what is logged beside the loss.
    """
    best, stopping = config.checkpoint.best, config.training.early_stopping
    if best == "auto":
        best = "val_loss" if validated else None
    if config.checkpoint.restore_best and best is None:
        message = "given true, but there is no best checkpoint; name a scalar in checkpoint.best"
        raise _refused(config, "checkpoint.restore_best", message)
    watched = {
        "checkpoint.best": best,
        "training.early_stopping.monitor": stopping and stopping.monitor,
    }
    watched |= rate_monitors(config.optimizer, "optimizer")
    for path, name in watched.items():
        missing = _missing(name, validated, metrics) if name is not None else None
        if missing:
            raise _refused(config, path, missing)
    return Monitors(
        BestTracker(best, config.checkpoint.mode) if best else None,
        EarlyStopping(
            stopping.monitor, stopping.patience, stopping.min_delta, stopping.mode
        )
        if stopping
        else None,
        tuple(name for name in watched.values() if name is not None),
    )


def _missing(name: str, validated: bool, metrics: Sequence[str]) -> str | None:
    if name.startswith("val_") and not validated:
        return (
            f"'{name}' is asked for, but the data has no validation split; give data.validation a share such as 0.1, "
            "or watch 'loss'"
        )
    return unlogged(name, metrics)


def _refused(config: Config, path: str, message: str) -> InputError:
    return InputError(format_error(config.place(path), path, message))


class BestTracker:
    """Owns the best value of a scalar so far; NaN and infinity are never better."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        self.monitor = monitor
        self.value: float | None = None
        self.step: int | None = None
        self._sign = 1.0 if metric_mode(monitor, mode) == "min" else -1.0
        self._min_delta = min_delta

    def improved(self, step: int, value: float) -> bool:
        """Takes a value in; returns whether it is better by more than `min_delta`."""
        value = float(value)
        first = self.value is None
        better = math.isfinite(value) and (
            first or self._sign * (self.value - value) > self._min_delta
        )
        if better:
            self.value, self.step = value, step
        return better

    def state(self) -> dict[str, Any]:
        return {"best": self.value, "best_step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        self.value, self.step = state["best"], state["best_step"]


class BestCheckpointSaver:
    """An observer that saves with `save_best(step)` whenever the monitored scalar is better than ever before."""

    def __init__(self, save_best: Callable[[int], Any], best: BestTracker):
        self._save_best = save_best
        self.best = best

    def __call__(self, step: int, signals: LogData) -> None:
        value = signals.scalars.get(self.best.monitor)
        if value is not None and self.best.improved(step, value):
            self._save_best(step)


class EarlyStopping:
    """An observer that raises Stop once the scalar has not improved by more than `min_delta` for `patience` looks.

    A look is a step at which the scalar was logged.
    """

    def __init__(
        self, monitor: str, patience: int, min_delta: float = 0.0, mode: str = "auto"
    ):
        self.best = BestTracker(monitor, mode, min_delta)
        self._patience = patience
        self._looks = 0

    def __call__(self, step: int, signals: LogData) -> None:
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
