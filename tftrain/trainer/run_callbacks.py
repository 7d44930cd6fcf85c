"""What hangs on the loop of a run, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tftrain.config.schema import Config
from tftrain.core.background import BackgroundWriter
from tftrain.core.bad_steps import RewindPolicy, SkippedSteps
from tftrain.core.callback import Callback, LambdaCallback
from tftrain.core.state import TrainState
from tftrain.core.types import LogData, Objective, Rate
from tftrain.data.loader import Data
from tftrain.reporting.console import Console
from tftrain.reporting.metrics_file import MetricsFile
from tftrain.reporting.plots.files import PlotFiles
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.reporting.tensorboard.profiler import Profiler
from tftrain.runtime import run_dir
from tftrain.trainer.callbacks import (
    BestCheckpointSaver,
    Monitors,
    RateFeedback,
    StopOnSignal,
)
from tftrain.trainer.checkpointing import RunCheckpointer
from tftrain.trainer.incidents import IncidentRecorder
from tftrain.trainer.plotting import PlotCallback, Plots
from tftrain.trainer.signals import SignalState

Loggers = tuple[MetricsFile, TensorBoardLogger, Console]


class Run(Protocol):
    """The parts of a run that callbacks use."""

    config: Config
    data: Data
    objective: Objective
    state: TrainState
    strategy: Any

    @property
    def rate(self) -> Rate:
        """The learning rate."""


def make_callbacks(
    folder: Path,
    run: Run,
    loggers: Loggers | None,
    monitors: Monitors,
    plots: Plots,
    checkpointer: RunCheckpointer,
    skipped: SkippedSteps,
    rewinds: RewindPolicy,
    signals: SignalState,
) -> tuple[list[Callback], IncidentRecorder]:
    """Return what hangs on the loop, in the order in which each is called, and the recorder of incidents.

    At a checkpoint everything logged so far is written, then the checkpoint is saved. A bad step is counted, then
    written down as an incident, then the run goes back.

    Args:
        folder: that of the run.
        run: its parts.
        loggers: what writes points; None for a worker that is not the chief, which leaves checkpoints alone.
        monitors: what watches a scalar.
        plots: those of the config.
        checkpointer: saves checkpoints.
        skipped: counts updates that were not applied.
        rewinds: goes back to a checkpoint.
        signals: those of this process.
    """
    config = run.config
    writer = BackgroundWriter(loggers or ())
    callbacks: list[Callback] = [skipped, writer]
    boards = []
    if loggers is not None:
        _, board, console = loggers
        boards.append(board)
        callbacks.append(LambdaCallback(on_call_end=console.on_call))

    def show_text(step: int, data: LogData) -> None:
        writer.drain()  # the files belong to its thread
        for board in boards:
            board(step, data)

    def save_best(step: int) -> None:
        writer.drain()  # what a checkpoint keeps of the loggers includes all points so far
        checkpointer.save_best(step)

    incidents = IncidentRecorder(
        folder, config, run.objective, run.state, run.data.train, show_text
    )
    callbacks.append(incidents)
    if config.training.on_bad_step == "rewind":
        callbacks.append(rewinds)
    if run.rate.heed is not None:
        feedback = RateFeedback(
            run.rate, run.state.rate, monitors.rate_monitors
        )
        callbacks.append(feedback)
    if monitors.best is not None:
        callbacks.append(BestCheckpointSaver(save_best, monitors.best))
    if monitors.stopping is not None:
        callbacks.append(monitors.stopping)
    if loggers is not None:
        observers = [*boards, PlotFiles(folder / run_dir.PICTURES)]
        callbacks.append(PlotCallback(plots, folder, writer, observers))
    callbacks.append(checkpointer)
    callbacks.append(StopOnSignal(signals, run.strategy))
    if loggers is not None and config.log.profile:
        first, last = config.log.profile
        callbacks.append(Profiler(folder, first, last))
    return callbacks, incidents
