"""Steps that go wrong: how they are recognized, counted and recovered from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tftrain.core import replication
from tftrain.core.callback import Callback
from tftrain.core.guards import LEAST, SpikeDetector
from tftrain.core.state import TrainState
from tftrain.core.types import BadStep, NotFinite, Rows
from tftrain.core.variables import assign_values, read_values

MAX_REWINDS = 3  # to one checkpoint; more often would only fail again
HISTORY_STEPS = 100  # of which a bad step has the numbers
_NAMES_IN_MESSAGE = 5
_RETAINED = (
    "metrics/",
    "norm_range/",
)  # groups of variables that a rewind keeps


class RewindPolicy(Callback):
    """Restores the last checkpoint after a bad step, and goes on with the next batches.

    What has been learned since the checkpoint is lost, but no data is seen twice (Chowdhery et al., 2022, section 5.1):
    the count of steps stays, and so do the metrics' counts and the range of gradient norms with the spikes seen.

    Args:
        state: that of the run.
        restore_checkpoint: restores the last checkpoint and returns its step.
        report: called with one line at each rewind.
    """

    phase = "checkpoints"

    def __init__(
        self,
        state: TrainState,
        restore_checkpoint: Callable[[], int],
        report: Callable[[str], None] = print,
    ):
        self._state = state
        self._restore_checkpoint = restore_checkpoint
        self._report = report
        self.count = 0
        self._last_step: int | None = (
            None  # of the checkpoint that was restored last
        )
        self._times = 0  # that it was restored

    def on_bad_step(self, bad_step: BadStep) -> None:
        """Restore the last checkpoint.

        Raises:
            NotFinite: it has been restored MAX_REWINDS times already.
        """
        with replication.scope_of(self._state.step):
            retained = [
                variable
                for name, variable in self._state.variables_by_name().items()
                if name == "step" or name.startswith(_RETAINED)
            ]
            values = read_values(retained)
            step = self._restore_checkpoint()
            assign_values(retained, values)
        self._times = self._times + 1 if step == self._last_step else 1
        self._last_step = step
        if self._times > MAX_REWINDS:
            raise NotFinite(
                f"{bad_step.message}; stopped after {MAX_REWINDS} rewinds to the checkpoint of step {step}"
            )
        self.count += 1
        self._report(
            f"{bad_step.message}; the run continues from the checkpoint of step {step}, with the next batches"
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "count": self.count,
            "times": self._times,
            "last": self._last_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.count = state["count"]
        self._times = state["times"]
        self._last_step = state["last"]


def overflowed(row: Mapping[str, Any]) -> Any:
    """Return where the scaled gradient overflowed in half precision, and the loss scale can still halve.

    The loss is finite there: one that is not has another cause, for the forward pass does not know the scale.

    Args:
        row: the numbers of a step, or of several, [steps].
    """
    is_not_finite = (row["finite"] == 0) & ~np.isfinite(row["grad_norm"])
    can_halve = row.get("loss_scale", LEAST) > LEAST
    return is_not_finite & np.isfinite(row["loss"]) & can_halve


class SkippedSteps(Callback):
    """Counts the updates of a run that were not applied."""

    def __init__(self):
        self._overflows = 0
        self._not_finite = 0
        self._spikes = 0
        self._first: int | None = (
            None  # step that was not finite, or had a spike
        )

    def on_call_end(self, step: int, row: Rows) -> None:
        """Count an overflow in the last step of a call, the only one of it that can have been skipped.

        Args:
            step: its number.
            row: its numbers by name.
        """
        if overflowed(row):
            self._overflows += 1

    def on_bad_step(self, bad_step: BadStep) -> None:
        """Count a step that went wrong."""
        if bad_step.kind == "spike":
            self._spikes += 1
        else:
            self._not_finite += 1
        self._first = self._first or bad_step.step

    @property
    def count(self) -> int:
        """How many updates were not applied, without the overflows of a loss scale."""
        return self._not_finite + self._spikes

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "overflows": self._overflows,
            "lost": self._not_finite,
            "spikes": self._spikes,
            "first": self._first,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self._overflows = state["overflows"]
        self._not_finite = state["lost"]
        self._spikes = state["spikes"]
        self._first = state["first"]

    def summary(self, steps: int) -> str | None:
        """Return a warning about a run of so many steps, or None; rare overflows of a loss scale are normal."""
        lines = []
        if self.count:
            lines.append(
                f"{self.count} of {steps} updates were skipped {self._describe_causes()}"
            )
        if self._overflows > steps / 2:
            lines.append(
                f"{self._overflows} of {steps} updates were skipped where gradients overflowed in float16; look at "
                "loss_scale in TensorBoard, and train longer, or with training.precision: mixed_bfloat16"
            )
        return "; and ".join(lines) or None

    def _describe_causes(self) -> str:
        causes = []
        if self._not_finite:
            causes.append(
                "where the loss, a gradient or the update was not finite"
            )
        if self._spikes:
            causes.append("where the gradient norm was far beyond those before")
        return (
            f"{' or '.join(causes)}, first at step {self._first}; look at the learning rate, the loss, and "
            "grad_norm_max and nonfinite_grads in TensorBoard"
        )


class StepHistory:
    """The numbers of a run's last steps, and whether the last of them went wrong.

    Args:
        names: those of the parameters.
        spike_detector: that of the run; without one there are no spikes.
    """

    def __init__(
        self, names: Sequence[str], spike_detector: SpikeDetector | None = None
    ):
        self._names = names
        self._spike_detector = spike_detector or SpikeDetector()
        self._calls: deque[Rows] = deque()
        self._steps = 0

    def add(self, rows: Rows) -> None:
        """Add the rows of a call."""
        self._calls.append(rows)
        self._steps += len(rows["finite"])
        while self._steps - len(self._calls[0]["finite"]) >= HISTORY_STEPS:
            self._steps -= len(self._calls.popleft()["finite"])

    def check_last_step(self, step: int) -> BadStep | None:
        """Return what was wrong with the last step; None where its update was applied.

        An overflow in half precision is not wrong: the loss scale halves, until there is nothing left to halve.

        Args:
            step: its number.
        """
        row = {name: values[-1] for name, values in self._calls[-1].items()}
        if row["finite"] > 0 or overflowed(row):
            return None
        rows = {
            name: np.concatenate([call[name] for call in self._calls])[
                -HISTORY_STEPS:
            ]
            for name in row
        }
        if not np.isfinite(row["loss"]):
            return BadStep(
                step, "loss", self._not_finite_message(row, step), rows
            )
        if not np.isfinite(row["grad_norm"]):
            return BadStep(
                step, "gradient", self._not_finite_message(row, step), rows
            )
        if self._spike_detector.is_spike(row["grad_norm"]):
            return BadStep(step, "spike", self._spike_message(row, step), rows)
        return BadStep(step, "update", _update_message(row, step), rows)

    def _spike_message(self, row: Rows, step: int) -> str:
        limit = self._spike_detector.limit()
        return (
            f"the gradient norm {row['grad_norm']:.3g} at step {step} is far beyond those before, of which none came "
            f"near {limit:.3g}; that update was not applied (loss {row['loss']:g}; training.spike_factor sets how far "
            "is too far)"
        )

    def _not_finite_message(self, row: Rows, step: int) -> str:
        norms = zip(self._names, row["grad_norms"], strict=True)
        names = [name for name, norm in norms if not np.isfinite(norm)]
        listed = names[:_NAMES_IN_MESSAGE]
        if len(names) > len(listed):
            listed.append(f"{len(names) - len(listed)} more")
        where = (
            f", gradients not finite in {', '.join(listed)}" if names else ""
        )
        return (
            f"the loss or a gradient was not finite at step {step}; that update was not applied "
            f"(loss {row['loss']:g}{where})"
        )


def _update_message(row: Rows, step: int) -> str:
    return (
        f"the update was not finite at step {step}, though the gradient was; it was not applied "
        f"(learning rate {row['learning_rate']:g}, clipped gradient norm {row['clipped_grad_norm']:g})"
    )
