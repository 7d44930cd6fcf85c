"""One session of a run: from its start, or its last checkpoint, to its end."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import tensorflow as tf

from tftrain.config.export import to_yaml
from tftrain.config.schema import Config
from tftrain.core.bad_steps import RewindPolicy, SkippedSteps
from tftrain.core.callback import Callback, closing_callbacks
from tftrain.core.loop import train
from tftrain.core.metric_aggregator import new_aggregator
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import NotFinite, Stop
from tftrain.data.stream_source import resume_cost
from tftrain.reporting.console import ProgressRange, print_start
from tftrain.reporting.tensorboard import hparams
from tftrain.runtime import run_dir
from tftrain.runtime.atomic_files import WriteError
from tftrain.runtime.cluster import is_chief
from tftrain.runtime.distribution import (
    strategy_scope,
    translating_worker_errors,
)
from tftrain.runtime.terminal import say
from tftrain.trainer.build import RunContext, build_run
from tftrain.trainer.callbacks import (
    Monitors,
)
from tftrain.trainer.checkpointing import RunCheckpointer
from tftrain.trainer.earlier_session import CompletedRun, EarlierSession
from tftrain.trainer.evaluator import Evaluator
from tftrain.trainer.failures import (
    attributing_errors,
    interrupted_error,
    training_error,
    unwritten_error,
)
from tftrain.trainer.finish import RunFinisher
from tftrain.trainer.learned_state import restore_learned, write_learned
from tftrain.trainer.loggers import make_loggers, run_hparams
from tftrain.trainer.monitors import make_monitors
from tftrain.trainer.plotting import (
    Plots,
    first_due,
    prepare_plots,
)
from tftrain.trainer.results import Result
from tftrain.trainer.run_callbacks import Loggers, make_callbacks
from tftrain.trainer.run_schedule import make_schedule
from tftrain.trainer.signals import (
    Interrupted,
    SignalState,
    StopRequested,
    handling_signals,
    signal_message,
)


def fit(
    config: Config,
    folder: Path | None = None,
    resume: bool = False,
    changed: bool = False,
) -> Result:
    """Train to the end, and write everything into the run's folder.

    Args:
        config: that of the run.
        folder: that of the run; None makes a new one.
        resume: whether to continue from the last checkpoint there.
        changed: whether the config has changed since, in a way that affects the numbers.

    Raises:
        InputError, UserCodeError: the config, the data or a user's component cannot be trained on.
        RunFolderError: the folder is another run's, or cannot be written.
        WorkerLost: another worker is missing, or has gone.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; what is trained is saved.
    """
    with (
        handling_signals() as signals,
        translating_worker_errors(config.training.strategy),
        ExitStack() as resources,
    ):
        run = build_run(config)
        metrics = [metric.name for metric in run.step_spec.metrics]
        monitors = make_monitors(
            config, run.data.validation is not None, metrics
        )
        plots = prepare_plots(
            config.log.plots,
            run.total_steps,
            run.objective,
            run.step_spec.method,
            run.step_spec.transform,
            run.state,
            run.data,
            run.strategy,
        )
        make_trainer = functools.partial(Trainer, run, monitors, plots, signals)
        if not is_chief(config.training.strategy):
            return _fit_worker(
                make_trainer, folder if resume else None, changed
            )
        folder = resources.enter_context(
            run_dir.acquire(folder, config.source, resume)
        )
        trainer = make_trainer(folder)
        if resume:
            completed = trainer.resume(folder, changed)
            if completed is not None:
                return completed
        if (
            not trainer.is_over()
        ):  # else the config stays the one of the training
            run_dir.write_config(folder, to_yaml(config))
        names = [component.name for component in config.data.preprocess]
        write_learned(folder, run.data.chain, run.data.example, names)
        notice = resume_cost(run.data.train)
        if notice is not None and not config.data.cache:
            say(notice)
        print_start(folder)
        table_row = run_hparams(config, metrics, run.data.splits)
        with hparams.recording_hparams(folder, table_row) as outcome:
            result = trainer.run()
            outcome.succeeded = not result.failed
            outcome.results = result.results
            outcome.step = result.last_step()
        return result


def _fit_worker(
    make_trainer: Callable[..., Trainer], resumed: Path | None, changed: bool
) -> Result:
    """Do the part of a worker that is not the chief: everything, with nothing left of it on the disk.

    It saves checkpoints too, because values that are spread over the workers can only be saved by all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(Path(folder), is_chief=False)
        if resumed is not None:
            completed = trainer.resume(resumed, changed)
            if completed is not None:
                return completed
        return trainer.run()


class Trainer:
    """Takes a run to its end.

    Args:
        run: its parts.
        monitors: what watches a scalar.
        plots: those of the config.
        signals: those of this process.
        folder: that of the run.
        is_chief: whether this process leaves more than checkpoints in the folder, and prints.
    """

    def __init__(
        self,
        run: RunContext,
        monitors: Monitors,
        plots: Plots,
        signals: SignalState,
        folder: Path,
        *,
        is_chief: bool = True,
    ):
        self._run = run
        self._monitors = monitors
        self._plots = plots
        self._signals = signals
        self._folder = folder
        self._is_chief = is_chief
        self._timer = PhaseTimer()
        steps_per_epoch = run.data.train.steps_per_epoch
        self._aggregator = new_aggregator(run.state, steps_per_epoch)
        self._checkpointer = RunCheckpointer(
            folder, run.state, run.config.checkpoint.max_to_keep, run.strategy
        )
        self._skipped = SkippedSteps()
        self._rewinds = RewindPolicy(
            run.state, self._checkpointer.restore_latest, self._report_rewind
        )
        self._evaluator = Evaluator(
            run.data,
            run.objective,
            run.new_metrics,
            run.state.averages,
            run.strategy,
        )
        self._finisher = RunFinisher(
            folder,
            run.config,
            run.data,
            run.state,
            monitors.best,
            self._checkpointer,
            self._evaluator,
            self._skipped,
            self._rewinds,
            self._timer,
        )
        self._earlier = EarlierSession(
            run.config,
            run.data,
            run.state.model,
            run.total_steps,
            monitors,
            self._checkpointer,
            self._aggregator,
        )
        self._checkpointer.track(
            skips=self._skipped,
            rewinds=self._rewinds,
            window=self._aggregator,
            best=monitors.best,
            stopping=monitors.stopping,
        )

    def resume(self, folder: Path, changed: bool) -> Result | None:
        """Restore the last checkpoint in a run's folder; return the result where the run has ended already.

        Args:
            folder: that of the run; for a worker that is not the chief that of the chief.
            changed: whether the config has changed in a way that affects the numbers.

        Raises:
            RunFolderError: what remains cannot be done with a changed config, or without checkpoints.
        """
        self._checkpointer.restore_run(folder)
        if changed:
            self._checkpointer.ended = None
            self._aggregator.clear()  # what steps report may be something else now
        completed = self._earlier.completed_run(folder, changed, self._is_chief)
        if completed is not None:
            return self._finish_completed(completed, folder, changed)
        if changed and self._checkpointer.saved is not None:
            # Saved before the changed config is written: the process may be killed in between.
            self._checkpointer.save(self._checkpointer.saved)
        return None

    def _finish_completed(
        self, completed: CompletedRun, folder: Path, changed: bool
    ) -> Result:
        """Return the result of a run that has ended.

        The folder stays as it is, but for `model.keras` and what the preprocessing learned, which are written again
        where they are lost.
        """
        if completed.has_checkpoint:
            self._finisher.choose_weights()
            if self._is_chief and not changed:
                self._finisher.restore_model_file()
                data = self._run.data
                restore_learned(folder, data.chain, data.example)
        return self._finisher.make_result(completed.figures, completed.stopped)

    def is_over(self) -> bool:
        """Return whether a resumed run has nothing left to train."""
        return self._earlier.is_over()

    def run(self) -> Result:
        """Train, and write what the run leaves; return that.

        Raises:
            Interrupted: by a signal, after a checkpoint.
            TrainingError: TensorFlow failed, or a file cannot be written.
            UserCodeError: a function of the user's raised that TensorFlow calls.
        """
        start = time.monotonic()
        try:
            with attributing_errors(self._run.config, self._describe_step):
                with self._signals.deferred():
                    stopped = self._train_and_save()
                return self._finisher.finish(
                    stopped, start, writes=self._is_chief
                )
        except Interrupted as error:
            raise self._make_interrupted(error.number, start) from None
        except WriteError as error:
            saved = self._checkpointer.saved
            step = self._current_step()
            raise unwritten_error(error, self._folder, step, saved) from error

    def _train_and_save(self) -> Stop | None:
        """Train, and save the last checkpoint; return why the run ended early, if it did."""
        if self.is_over():
            say(
                f"nothing left to train: the run is at step {self._checkpointer.start} of {self._run.total_steps}"
            )
            return self._earlier.stop_reason()
        # The results of an earlier session, of a shorter run.
        (self._folder / run_dir.RESULTS).unlink(missing_ok=True)
        is_rewinding = self._run.config.training.on_bad_step == "rewind"
        if is_rewinding and self._checkpointer.saved is None:
            with self._timer.phase("checkpoints"):
                self._checkpointer.save(0)
        callbacks, incidents = make_callbacks(
            self._folder,
            self._run,
            self._make_loggers(),
            self._monitors,
            self._plots,
            self._checkpointer,
            self._skipped,
            self._rewinds,
            self._signals,
        )
        with closing_callbacks(callbacks, self._timer):
            stopped = self._run_loop(callbacks)
        if isinstance(stopped, NotFinite):
            stopped = NotFinite(f"{stopped}{incidents.pointer()}")
            self._checkpointer.ended = str(stopped)
        else:
            self._checkpointer.ended = None
        if self._checkpointer.saved != self._current_step():
            with self._timer.phase("checkpoints"):
                self._checkpointer.save(self._current_step())
        if isinstance(stopped, StopRequested):
            raise Interrupted(stopped.number)
        return stopped

    def _make_loggers(self) -> Loggers | None:
        """Return the writers of the session; a worker that is not the chief has none."""
        if not self._is_chief:
            return None
        run = self._run
        start = self._checkpointer.start
        return make_loggers(
            self._folder,
            start,
            run.config,
            run.state.model,
            ProgressRange(
                run.total_steps, run.data.train.steps_per_epoch, start
            ),
            [metric.name for metric in run.step_spec.metrics],
            self._evaluator.has_validation,
            run.compiled_steps.graph,
        )

    def _run_loop(self, callbacks: list[Callback]) -> Stop | None:
        run = self._run
        config = run.config
        steps_per_epoch = run.data.train.steps_per_epoch
        has_validation = self._evaluator.has_validation
        schedule = make_schedule(
            config,
            steps_per_epoch,
            run.total_steps,
            self._evaluator.validate if has_validation else None,
            first_due(self._plots.scheduled),
            self._monitors.stopping,
        )
        try:
            with strategy_scope(run.strategy):
                return train(
                    run.compiled_steps,
                    run.state,
                    run.data.train,
                    schedule,
                    callbacks,
                    aggregator=self._aggregator,
                    timer=self._timer,
                )
        except tf.errors.OpError as error:
            # The operations of a step have no order, so the one that failed may be counted already.
            where = f"around step {self._current_step()}"
            saved = self._checkpointer.describe_last()
            raise training_error(error, config, where, saved) from error

    def _make_interrupted(self, number: int, start: float) -> Interrupted:
        """Return what to raise after a signal, and write results that say so."""
        steps = self._checkpointer.saved
        if self._is_chief:
            self._finisher.write_results(
                {}, steps, signal_message(number), start
            )
        total = self._run.total_steps
        return interrupted_error(number, self._folder, steps, total)

    def _describe_step(self) -> str:
        saved = self._checkpointer.describe_last()
        return f"around step {self._current_step()} ({saved})"

    def _current_step(self) -> int:
        return int(self._run.state.step.numpy())

    def _report_rewind(self, line: str) -> None:
        if self._is_chief:
            print(line)
