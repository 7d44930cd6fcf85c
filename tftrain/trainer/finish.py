"""What a run leaves at its end: the model, the results, and the lines that report them."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

from tftrain.config.schema import Config
from tftrain.core.bad_steps import RewindPolicy, SkippedSteps
from tftrain.core.state import TrainState
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import NotFinite, Stop
from tftrain.data.loader import Data
from tftrain.data.stream_source import StreamSource
from tftrain.models import serialization
from tftrain.reporting.console import print_results
from tftrain.reporting.metrics_file import read_metrics
from tftrain.reporting.timing_summary import time_line
from tftrain.runtime.run_dir import METRICS, MODEL, MODEL_WEIGHTS
from tftrain.runtime.terminal import say
from tftrain.trainer import results
from tftrain.trainer.callbacks import BestTracker
from tftrain.trainer.checkpointing import RunCheckpointer
from tftrain.trainer.evaluator import Evaluator
from tftrain.trainer.prepared import prepared_model
from tftrain.trainer.results import Result, Results


class RunFinisher:
    """Writes what a run leaves at its end.

    Args:
        folder: that of the run.
        config: its config.
        data: the splits.
        state: all variables of the run.
        best: of the best checkpoint; None where none is kept.
        checkpointer: the checkpoints.
        evaluator: of the model.
        skipped: the updates that were not applied.
        rewinds: to earlier checkpoints.
        timer: the seconds by phase.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        data: Data,
        state: TrainState,
        best: BestTracker | None,
        checkpointer: RunCheckpointer,
        evaluator: Evaluator,
        skipped: SkippedSteps,
        rewinds: RewindPolicy,
        timer: PhaseTimer,
    ):
        self._folder = folder
        self._config = config
        self._data = data
        self._state = state
        self._best = best
        self._checkpointer = checkpointer
        self._evaluator = evaluator
        self._skipped = skipped
        self._rewinds = rewinds
        self._timer = timer
        # The step whose weights the model has at the end; None for those of the last step.
        self._restored_step: int | None = None

    def finish(
        self, stopped: Stop | None, start: float, *, writes: bool
    ) -> Result:
        """Choose the final weights, evaluate them, and write and print everything.

        Args:
            stopped: why the run ended before its last step; None where it did not.
            start: when the session began, by `time.monotonic`.
            writes: whether this process writes files and prints: of several workers only the chief.
        """
        steps = int(self._state.step.numpy())
        self.choose_weights()
        if writes:
            serialization.save(self._state.model, self._folder / MODEL)
        with self._timer.phase("validation"):
            figures = self._evaluator.evaluate_all()
        if writes:
            reason = None if stopped is None else str(stopped)
            self.write_results(figures, steps, reason, start)
            self._report_results(figures, steps, stopped)
        return self.make_result(figures, stopped)

    def choose_weights(self) -> None:
        """Give the model the weights that are saved: the best, or the averaged."""
        if self._config.checkpoint.restore_best:
            self._restored_step = self._checkpointer.restore_best()
        if self._state.averages is not None:
            self._state.averages.swap()

    def write_results(
        self, figures: Results, steps: int, stopped: str | None, start: float
    ) -> None:
        """Write `results.json`.

        Args:
            figures: by split; none where the run was interrupted.
            steps: how many were taken.
            stopped: why not all of them.
            start: when the session began, by `time.monotonic`.
        """
        seconds_by_phase = self._timer.seconds_by_phase()
        facts = {
            "seconds": round(time.monotonic() - start, 3),
            "time": {
                phase: round(value, 3)
                for phase, value in seconds_by_phase.items()
            },
            "skipped": self._skipped.count,
            "rewinds": self._rewinds.count,
        }
        if figures:
            facts["model_step"] = self._weights_step(steps)
        if self._evaluator.train_sample is not None:
            facts["train_examples"] = self._evaluator.train_sample[0]
        results.write(self._folder, figures, steps, stopped, facts)

    def make_result(self, figures: Results, stopped: Stop | None) -> Result:
        """Return the result that `tftrain.train` gives.

        Args:
            figures: the losses and metrics at the end, by split.
            stopped: why the run ended early; None where it did not.
        """
        return Result(
            history=read_metrics(self._folder / METRICS),
            model=prepared_model(
                self._state.model, self._data.chain, self._data.example
            ),
            results=figures,
            folder=self._folder,
            stopped=None if stopped is None else str(stopped),
            failed=isinstance(stopped, NotFinite),
        )

    def restore_model_file(self) -> None:
        """Write `model.keras` again where it is missing or damaged."""
        path = self._folder / MODEL
        if (
            serialization.is_whole(path)
            or path.with_name(MODEL_WEIGHTS).is_file()
        ):
            return
        problem = "is damaged" if path.exists() else "is lost"
        say(f"{path} {problem}; it is written again from the checkpoint")
        serialization.save(self._state.model, path)

    def _report_results(
        self, figures: Results, steps: int, stopped: Stop | None
    ) -> None:
        summary = self._skipped.summary(steps)
        if summary and not isinstance(stopped, NotFinite):
            warnings.warn(summary, stacklevel=2)
        is_streamed = isinstance(self._data.train, StreamSource)
        seconds = self._timer.seconds_by_phase()
        notes = [
            self._weights_line(steps),
            self._sample_line(),
            time_line(seconds, self._config.data, is_streamed),
        ]
        reason = None if stopped is None else str(stopped)
        print_results(
            figures, self._folder, reason, [note for note in notes if note]
        )

    def _weights_step(self, steps: int) -> int:
        return steps if self._restored_step is None else self._restored_step

    def _weights_line(self, steps: int) -> str:
        """Return which weights the saved model has, of a run that ended after so many steps."""
        step = self._weights_step(steps)
        is_average = self._state.averages is not None
        weights = "the average of the weights" if is_average else "the weights"
        line = f"{MODEL}: {weights} at step {step}"
        best = self._best
        if best is None or best.step is None:
            return f"{line}, the last"
        value = f"{best.monitor} {best.value:.4g}"
        if step == best.step:
            last = "the last and " if step == steps else ""
            return f"{line}, {last}the best ({value})"
        return f"{line}, the last; the best, at step {best.step} ({value}), with checkpoint.restore_best: true"

    def _sample_line(self) -> str | None:
        if self._evaluator.train_sample is None:
            return None
        sample, examples = self._evaluator.train_sample
        return f"train: of {sample} examples drawn from {examples}"
