"""What an earlier session of a run left: whether the run has ended, its result, and the files that are lost."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras

from tftrain.config.field_types import in_steps
from tftrain.config.schema import Config
from tftrain.core.metric_aggregator import MetricAggregator
from tftrain.core.types import NotFinite, Stop
from tftrain.data.loader import Data
from tftrain.models import serialization
from tftrain.runtime import run_dir
from tftrain.runtime.run_dir import RunFolderError
from tftrain.runtime.terminal import say
from tftrain.trainer import results
from tftrain.trainer.callbacks import Monitors
from tftrain.trainer.checkpointing import RunCheckpointer
from tftrain.trainer.lost_files import lost_lines
from tftrain.trainer.results import Results


class CompletedRun(NamedTuple):
    """A run that has ended.

    Args:
        figures: its results by split.
        stopped: why it ended before its last step; None where it did not.
        has_checkpoint: whether its last checkpoint was restored; otherwise the model has the weights of `model.keras`.
    """

    figures: Results
    stopped: Stop | None
    has_checkpoint: bool


class EarlierSession:
    """The session before this one, after its last checkpoint was restored.

    Args:
        config: that of the run.
        data: the splits.
        model: that of the run.
        total_steps: of the run.
        monitors: what watches a scalar.
        checkpointer: the checkpoints.
        aggregator: the steps that no logged point includes yet.
    """

    def __init__(
        self,
        config: Config,
        data: Data,
        model: keras.Model,
        total_steps: int,
        monitors: Monitors,
        checkpointer: RunCheckpointer,
        aggregator: MetricAggregator,
    ):
        self._config = config
        self._data = data
        self._model = model
        self._total_steps = total_steps
        self._monitors = monitors
        self._checkpointer = checkpointer
        self._aggregator = aggregator

    def is_over(self) -> bool:
        """Return whether nothing is left to train."""
        is_at_end = self._checkpointer.start >= self._total_steps
        return is_at_end or self.stop_reason() is not None

    def stop_reason(self) -> Stop | None:
        """Return why the run ended before its last step, where it did."""
        if self._checkpointer.ended:
            return NotFinite(self._checkpointer.ended)
        stopping = self._monitors.stopping
        if (
            self._checkpointer.start
            and stopping is not None
            and stopping.is_over()
        ):
            return Stop(stopping.reason())
        return None

    def completed_run(
        self, folder: Path, changed: bool, is_chief: bool
    ) -> CompletedRun | None:
        """Return what is left of the run where it has ended; None where there is something left to train.

        Files that are lost are reported.

        Args:
            folder: that of the run.
            changed: whether the config has changed in a way that affects the numbers.
            is_chief: whether this process looks for lost files.

        Raises:
            RunFolderError: what remains cannot be done with a changed config, or without checkpoints.
        """
        start = self._checkpointer.start
        if not start:
            completed = self._completed_without_checkpoint(folder, changed)
            if completed is not None:
                return completed
        if is_chief:
            self._report_lost_files(folder)
        if not self.is_over():
            return None
        figures = results.read(folder, start)
        if figures is None:
            if changed:
                raise RunFolderError(
                    f"run folder {folder}: all steps are trained, but there are no results; resume it without changes, "
                    "or with more steps"
                )
            return None
        stopped = self.stop_reason()
        reason = f" ({stopped})" if stopped else ""
        say(
            f"the run has ended at step {start} already{reason}, so nothing is done"
        )
        if changed:
            say(
                "the changes are not taken; more training.steps or epochs would be trained with them"
            )
        return CompletedRun(figures, stopped, has_checkpoint=True)

    def _completed_without_checkpoint(
        self, folder: Path, changed: bool
    ) -> CompletedRun | None:
        """Return what is left of a run that ended and lost its checkpoints; to train anew would overwrite its model."""
        end = results.read_end(folder)
        model_file = folder / run_dir.MODEL
        if end is None or not serialization.is_whole(model_file):
            return None
        steps, stopped = end
        where = (
            f"at step {steps}, and its checkpoints are lost, so it cannot go on"
        )
        if changed or stopped is not None or steps < self._total_steps:
            raise RunFolderError(
                f"run folder {folder}: the run has ended {where}; give another --run-dir"
            )
        say(f"the run has ended {where}; nothing is done")
        self._model.load_weights(model_file)
        return CompletedRun(
            results.read(folder, steps), None, has_checkpoint=False
        )

    def _report_lost_files(self, folder: Path) -> None:
        start = self._checkpointer.start
        validate_every = in_steps(
            self._config.training.validate_every,
            self._data.train.steps_per_epoch,
        )
        is_validated = (
            self._data.validation is not None and start >= validate_every
        )
        last_point = start - self._aggregator.waiting
        lines = lost_lines(folder, start, last_point, is_validated)
        best = self._monitors.best
        has_value = best is not None and best.value is not None
        if has_value and not self._checkpointer.has_best():
            lost = folder / run_dir.CHECKPOINTS / run_dir.BEST
            lines.append(
                f"{lost} is lost: there is one again once {best.monitor} is better than {best.value:.4g}"
            )
        for line in lines:
            say(line)
