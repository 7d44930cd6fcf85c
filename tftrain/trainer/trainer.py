"""One session of a run: from its start, or its last checkpoint, to its end."""

from __future__ import annotations

import functools
import shlex
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from tftrain.config.component import user_components, user_components_note
from tftrain.config.error_context import raised_within
from tftrain.config.export import to_yaml
from tftrain.config.field_types import in_steps
from tftrain.config.rules import rate_monitors
from tftrain.config.schema import Config
from tftrain.core import replication
from tftrain.core.bad_steps import BadStep, RewindPolicy, SkippedSteps
from tftrain.core.callback import Callback
from tftrain.core.loop import train
from tftrain.core.metric_aggregator import new_window
from tftrain.core.schedule import every
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import NotFinite, Stop
from tftrain.data.stream_source import StreamSource
from tftrain.models import serialization
from tftrain.reporting.console import print_results, print_start
from tftrain.reporting.metrics_file import Series, read_metrics
from tftrain.reporting.tensorboard import hparams
from tftrain.reporting.timing_summary import time_line
from tftrain.runtime import run_dir as run_folder
from tftrain.runtime.atomic_files import WriteError
from tftrain.runtime.cluster import is_chief
from tftrain.runtime.distribution import strategy_scope, translating_worker_errors
from tftrain.runtime.errors import TrainingError
from tftrain.runtime.terminal import say
from tftrain.runtime.tf_errors import short_message
from tftrain.trainer import results
from tftrain.trainer.build import RunContext, build_run
from tftrain.trainer.callbacks import CallbackList, Monitors, make_monitors
from tftrain.trainer.checkpointing import RunCheckpointer
from tftrain.trainer.evaluator import Evaluator
from tftrain.trainer.incidents import Incidents
from tftrain.trainer.loggers import make_loggers, new_reservoirs, run_hparams
from tftrain.trainer.lost_files import lost_lines
from tftrain.trainer.plotting import PlotCallback
from tftrain.trainer.prepared import prepared_model, restore_learned, write_learned
from tftrain.trainer.results import Result, Results
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
    run_dir: Path | None = None,
    resume: bool = False,
    changed: bool = False,
) -> Result:
    """Train to the end, and write everything into the run's folder; `changed` is whether its config was another one.

    Raises:
        InputError, UserCodeError: the config, the data or a user's part cannot be trained on.
        RunFolderError: the folder is another run's, or cannot be written.
        PeerLost: another worker is missing, or has gone.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; what is trained is saved.
    """
    with (
        handling_signals() as interrupts,
        translating_worker_errors(config.training.strategy),
        ExitStack() as owned,
    ):
        assembled = build_run(config)
        labels = [metric.name for metric in assembled.recipe.metrics]
        monitored = make_monitors(config, assembled.data.validation is not None, labels)
        new_session = functools.partial(
            Trainer, assembled, monitored, interrupts, PlotCallback(assembled)
        )
        if not is_chief(config.training.strategy):
            return _work(new_session, run_dir if resume else None, changed)
        folder = owned.enter_context(run_folder.acquire(run_dir, config.source, resume))
        session = new_session(folder)
        if resume:
            session.restore(folder, changed)
            left = session.completed_result(folder, changed)
            if left is not None:
                return left
            session.keep_changes(changed)
        if not session.is_over():  # else the config stays the one that was trained with
            run_folder.write_config(folder, to_yaml(config))
        names = [part.name for part in config.data.preprocess]
        write_learned(folder, assembled.data.chain, assembled.data.example, names)
        _tell_replay(assembled)
        print_start(folder)
        with hparams.recorded(folder, run_hparams(assembled)) as outcome:
            result = session.run()
            outcome.succeeded, outcome.results, outcome.step = (
                not result.failed,
                result.results,
                result.last_step(),
            )
        return result


def _tell_replay(assembled: RunContext) -> None:
    """Say at the start what a resume would cost, where the data cannot be positioned."""
    train = assembled.data.train
    if (
        isinstance(train, StreamSource)
        and train.replayed
        and not assembled.config.data.cache
    ):
        say(
            f"data: a tf.data.Dataset cannot be positioned, so a resume reads up to {train.replayed} examples again; "
            "data.cache: true keeps them in memory"
        )


def _work(
    new_session: Callable[..., Trainer], resumed: Path | None, changed: bool
) -> Result:
    """The part of a worker that is not the chief: all that the chief does, with nothing left of it on the disk.

    Checkpoints are among it, because numbers that are spread over the workers can only be saved by all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = new_session(Path(folder), chief=False)
        if resumed is not None:
            session.restore(resumed, changed)
            left = session.completed_result(resumed, changed)
            if left is not None:
                return left
            session.keep_changes(changed)
        return session.run()


class Trainer:
    """Takes a run to its end; only the chief of several workers leaves anything but checkpoints."""

    def __init__(
        self,
        assembled: RunContext,
        monitored: Monitors,
        interrupts: SignalState,
        gallery: PlotCallback,
        folder: Path,
        *,
        chief: bool = True,
    ):
        self._run, self._folder, self._monitored, self._chief = (
            assembled,
            folder,
            monitored,
            chief,
        )
        self._interrupts, self._gallery = interrupts, gallery
        self._skips, self._ledger = SkippedSteps(), PhaseTimer()
        self._window = new_window(assembled.state, assembled.data.train.steps_per_epoch)
        self._rewinds = RewindPolicy(
            assembled.state, print if chief else lambda line: None
        )
        self._reservoirs = new_reservoirs(assembled)
        owners = {
            "skips": self._skips,
            "rewinds": self._rewinds,
            "window": self._window,
        }
        owners |= {"reservoirs": self._reservoirs, **monitored.by_name()}
        self._memory = RunCheckpointer(assembled, folder, owners)
        self._evaluations = Evaluator(assembled)
        self._restored: int | None = (
            None  # the step whose weights the model has at the end, where not the last
        )

    def restore(self, folder: Path, changed: bool) -> None:
        """Go on from the last checkpoint in a run's folder, where there is one."""
        self._memory.restore(folder)
        if changed:
            self._memory.ended = None
            self._window.clear()  # what the steps tell may be something else now

    def completed_result(self, folder: Path, changed: bool) -> Result | None:
        """What an earlier session left in a run's folder, where it took the run to its end; None where it did not.

        The folder stays as it is, but for `model.keras` and what the preprocessing learned, which are written again
        where they are lost. Of other files that are lost a line says so.

        Raises:
            RunFolderError: what is left to do cannot be done with a changed config, or without checkpoints.
        """
        left = (
            self._left_without_checkpoint(folder, changed)
            if not self._memory.start
            else None
        )
        if left is not None:
            return left
        if self._chief:
            self._tell_lost(folder)
        found = results.read(folder, self._memory.start) if self.is_over() else None
        if found is None:
            if changed and self.is_over():
                fault = "all steps are trained, but there are no results; resume it without changes, or with more steps"
                raise run_folder.RunFolderError(f"run folder {folder}: {fault}")
            return None
        ended = self._reason()
        why = f" ({ended})" if ended else ""
        say(
            f"the run has ended at step {self._memory.start} already{why}, so nothing is done"
        )
        if changed:
            say(
                "the changes are not taken; more training.steps or epochs would be trained with them"
            )
        self._finish_model()
        if self._chief and not changed:
            self._restore_model_file()
            restore_learned(folder, self._run.data.chain, self._run.data.example)
        return self._result(found, ended)

    def keep_changes(self, changed: bool) -> None:
        """Save the state as it is to be gone on from, before the changed config is written: a kill may come then."""
        if changed and self._memory.saved is not None:
            self._memory.save(self._memory.saved)

    def _left_without_checkpoint(self, folder: Path, changed: bool) -> Result | None:
        """The result of a run that ended and whose checkpoints are lost; to train it anew would overwrite its model."""
        end, model = results.read_end(folder), folder / run_folder.MODEL
        if end is None or not serialization.is_whole(model):
            return None
        steps, stopped = end
        lost = f"at step {steps}, and its checkpoints are lost, so it cannot go on"
        if changed or stopped is not None or steps < self._run.total_steps:
            raise run_folder.RunFolderError(
                f"run folder {folder}: the run has ended {lost}; give another --run-dir"
            )
        say(f"the run has ended {lost}; nothing is done")
        self._run.state.model.load_weights(model)
        return self._result(results.read(folder, steps), None)

    def _restore_model_file(self) -> None:
        """Write `model.keras` again where it is missing or damaged."""
        path = self._folder / run_folder.MODEL
        if (
            serialization.is_whole(path)
            or path.with_name(run_folder.MODEL_WEIGHTS).is_file()
        ):
            return
        fault = "is damaged" if path.exists() else "is lost"
        say(f"{path} {fault}; it is written again from the checkpoint")
        serialization.save(self._run.state.model, path)

    def _tell_lost(self, folder: Path) -> None:
        start = self._memory.start
        validate_every = in_steps(
            self._run.config.training.validate_every,
            self._run.data.train.steps_per_epoch,
        )
        is_validated = self._evaluations.validated and start >= validate_every
        lines = lost_lines(folder, start, start - self._window.waiting, is_validated)
        best = self._monitored.best
        if best is not None and best.value is not None and not self._memory.has_best():
            lost = folder / run_folder.CHECKPOINTS / run_folder.BEST
            lines.append(
                f"{lost} is lost: there is one again once {best.monitor} is better than {best.value:.4g}"
            )
        for line in lines:
            say(line)

    def run(self) -> Result:
        began = time.monotonic()
        try:
            with self._locating_faults():
                with self._interrupts.deferred():
                    ended = self._trained()
                return self._finished(ended, began)
        except Interrupted as interrupted:
            raise self._interrupted(interrupted.number, began) from None
        except WriteError as error:
            step, last = int(self._run.state.step.numpy()), self._memory.saved
            where = (
                f"at the last checkpoint, of step {last}"
                if last
                else "from the start, for there is no checkpoint"
            )
            raise TrainingError(
                f"at step {step} {error}; when that is mended, {self._resume_command()} begins {where}"
            ) from error

    @contextmanager
    def _locating_faults(self) -> Iterator[None]:
        """Tell errors of functions of the user's that TensorFlow calls with their file and line."""
        try:
            yield
        except (tf.errors.OpError, TrainingError) as error:
            last = self._memory.saved
            saved = (
                f"the last checkpoint is of step {last}"
                if last
                else "there is no checkpoint yet"
            )
            remark = f"around step {int(self._run.state.step.numpy())} ({saved})"
            cause_error = error.__cause__ if isinstance(error, TrainingError) else error
            raised = raised_within(
                cause_error, user_components(self._run.config), remark
            )
            if raised is None:
                raise
            raise raised from error

    def _trained(self) -> Stop | None:
        """Train, and save; why it ended early, where it did."""
        if self.is_over():
            say(
                f"nothing left to train: the run is at step {self._memory.start} of {self._run.total_steps}"
            )
            return self._reason()
        (self._folder / run_folder.RESULTS).unlink(
            missing_ok=True
        )  # the run was shorter then
        files = (
            make_loggers(self._run, self._folder, self._memory.start, self._reservoirs)
            if self._chief
            else ()
        )
        incidents = Incidents(self._run, self._folder)
        audience = CallbackList(
            self._run, files, self._monitored, self._memory, incidents
        )
        with audience.sinks(
            self._folder, self._skips, self._ledger, self._each_point(), self._gallery
        ) as sinks:
            if (
                self._run.config.training.on_nonfinite == "rewind"
                and self._memory.saved is None
            ):
                sinks.save(0)
            ended = self._drawn(replace(sinks, asked=self._asked, rewind=self._rewind))
        if isinstance(ended, NotFinite):
            ended = NotFinite(f"{ended}{incidents.remark()}")
        steps = int(self._run.state.step.numpy())
        self._memory.ended = str(ended) if isinstance(ended, NotFinite) else None
        if self._memory.saved != steps:
            with self._ledger.phase("checkpoints"):
                self._memory.save(steps)
        if isinstance(ended, StopRequested):
            raise Interrupted(ended.number)
        return ended

    def _drawn(self, sinks: Callback) -> Stop | None:
        """Train, with the pictures of the start, and those of an early end; why it was early, where it was."""
        if not self._memory.start:
            sinks.draw(0)
        ended = self._train(sinks)
        if ended is not None and not isinstance(ended, StopRequested):
            sinks.draw(int(self._run.state.step.numpy()), last=True)
        return ended

    def _asked(self) -> StopRequested | None:
        """Whether to stop here; of several workers one that was told so is enough."""
        number = replication.max_over_workers(
            self._interrupts.number, self._run.strategy
        )
        return StopRequested(number) if number else None

    def _rewind(self, trouble: BadStep) -> NotFinite | None:
        return self._rewinds.back(trouble, self._memory.back)

    def _finished(self, ended: Stop | None, began: float) -> Result:
        steps = int(self._run.state.step.numpy())
        self._finish_model()
        if self._chief:
            serialization.save(self._run.state.model, self._folder / run_folder.MODEL)
        with self._ledger.phase("validation"):
            found = self._evaluations.results()
        if self._chief:
            self._write(found, steps, ended and str(ended), began)
            remark = (
                self._skips.remark(steps) if not isinstance(ended, NotFinite) else None
            )
            if remark:
                warnings.warn(remark, stacklevel=2)
            streamed = isinstance(self._run.data.train, StreamSource)
            spent_line = time_line(
                self._ledger.seconds_by_phase(), self._run.config.data, streamed
            )
            notes = [
                line
                for line in (self._weights_line(steps), self._sample_line(), spent_line)
                if line
            ]
            print_results(found, self._folder, ended and str(ended), notes)
        return self._result(found, ended)

    def _interrupted(self, number: int, began: float) -> Interrupted:
        """What to raise after a signal; with results that say so."""
        steps, total = self._memory.saved, self._run.total_steps
        if self._chief:
            self._write({}, steps, signal_message(number), began)
        return Interrupted(
            number,
            f"at step {steps} of {total}; saved, so that it can go on with {self._resume_command()}",
        )

    def _resume_command(self) -> str:
        return f"python -m tftrain --resume --run-dir {shlex.quote(str(self._folder))}"

    def _finish_model(self) -> None:
        """The model becomes the one to be saved: the best, the averaged."""
        if self._run.config.checkpoint.restore_best:
            self._restored = self._memory.restore_best()
        if self._run.state.averages is not None:
            self._run.state.averages.swap()

    def _weights_line(self, steps: int) -> str:
        """Which weights the saved model has, of a run that ended after so many steps."""
        best, step = (
            self._monitored.best,
            steps if self._restored is None else self._restored,
        )
        weights = (
            "the weights"
            if self._run.state.averages is None
            else "the average of the weights"
        )
        line = f"{run_folder.MODEL}: {weights} at step {step}"
        if best is None or best.step is None:
            return f"{line}, the last"
        value = f"{best.monitor} {best.value:.4g}"
        if step == best.step:
            return (
                f"{line}, {'the last and ' if step == steps else ''}the best ({value})"
            )
        return f"{line}, the last; the best, at step {best.step} ({value}), with checkpoint.restore_best: true"

    def _sample_line(self) -> str | None:
        sample = self._evaluations.train_sample
        return (
            None
            if sample is None
            else f"train: of {sample[0]} examples drawn from {sample[1]}"
        )

    def _write(
        self, found: Results, steps: int, stopped: str | None, began: float
    ) -> None:
        spent = {
            kind: round(took, 3)
            for kind, took in self._ledger.seconds_by_phase().items()
        }
        seconds = round(time.monotonic() - began, 3)
        counts = {"skipped": self._skips.count, "rewinds": self._rewinds.count}
        if found:
            counts["model_step"] = steps if self._restored is None else self._restored
        if self._evaluations.train_sample is not None:
            counts["train_examples"] = self._evaluations.train_sample[0]
        results.write(
            self._folder,
            found,
            steps,
            stopped,
            {"seconds": seconds, "time": spent, **counts},
        )

    def _curves(self) -> dict[str, Series]:
        return read_metrics(self._folder / run_folder.METRICS)

    def _result(self, found: Results, ended: Stop | None) -> Result:
        data, stopped = self._run.data, ended and str(ended)
        model = prepared_model(self._run.state.model, data.chain, data.example)
        return Result(
            self._curves(),
            model,
            found,
            self._folder,
            stopped,
            isinstance(ended, NotFinite),
        )

    def _train(self, sinks: Callback) -> Stop | None:
        run = self._run
        views = ()
        if self._evaluations.validated:
            steps = in_steps(
                run.config.training.validate_every, run.data.train.steps_per_epoch
            )
            views = ((every(steps), self._evaluations.look),)
        plan = make_schedule(
            run, views, self._gallery.following, self._monitored.stopping
        )
        try:
            with strategy_scope(run.strategy):
                return train(
                    run.programs,
                    run.state,
                    run.data.train,
                    plan,
                    sinks,
                    window=self._window,
                )
        except tf.errors.OpError as error:
            # A step's operations have no order among them, so the one that failed may be counted already.
            step, why, last = (
                int(run.state.step.numpy()),
                short_message(str(error)),
                self._memory.saved,
            )
            saved = (
                f"the last checkpoint is of step {last}"
                if last
                else "there is no checkpoint yet"
            )
            if (
                run.config.training.jit_compile and "xla" in str(error).lower()
            ):  # memory, or a shape of its own
                why += "; training.jit_compile: false does without XLA"
            own = user_components_note(run.config)
            raise TrainingError(
                f"TensorFlow failed around step {step}: {why} ({saved}){own}"
            ) from error

    def _each_point(self) -> bool:
        """Whether what is logged of training has a say in how it goes on."""
        scalars = self._monitored.scalars
        heeding = self._run.recipe.rate.heed is not None and not rate_monitors(
            self._run.config.optimizer, "optimizer"
        )
        return heeding or any(not name.startswith("val_") for name in scalars)

    def is_over(self) -> bool:
        """Whether a run that is resumed has nothing left to train."""
        return self._memory.start >= self._run.total_steps or self._reason() is not None

    def _reason(self) -> Stop | None:
        """Why an earlier session ended before the last step, where it did."""
        stopping = self._monitored.stopping
        if self._memory.ended:
            return NotFinite(self._memory.ended)
        if self._memory.start and stopping is not None and stopping.is_over():
            return Stop(stopping.reason())
        return None
