"""Going back to the last checkpoint, where a step went wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from tftrain.core import replication
from tftrain.core.guards import LEAST, SpikeDetector
from tftrain.core.metric_aggregator import Rows
from tftrain.core.state import TrainState
from tftrain.core.types import NotFinite
from tftrain.core.variables import assign_values, read_values

_KEPT = ("metrics/", "norm_range/")  # groups of variables
MAX_REWINDS = 3  # to one checkpoint; who comes to grief once more will do so again


class RewindPolicy:
    """Owns the count of a run's rewinds.

    What has been learned since the checkpoint is forgotten, but no data is seen twice (Chowdhery et al., 2022, section
    5.1): the count of steps stays, so that the next batches follow, and so do the metrics' counts of the steps that
    were taken, and the range of gradient norms with the spikes that were seen. `tell(line)` is called each time.
    """

    def __init__(self, state: TrainState, tell: Callable[[str], None] = print):
        self._state, self._tell = state, tell
        self.count = self._times = 0  # in all, and to the last checkpoint
        self._last: int | None = None  # the step of that

    def back(self, trouble: BadStep, restore: Callable[[], int]) -> NotFinite | None:
        """Go back by `restore()`, which gives the checkpoint's step; or the reason to stop."""
        with replication.scope_of(self._state.step):
            named = self._state.variables_by_name().items()
            kept = [
                variable
                for name, variable in named
                if name == "step" or name.startswith(_KEPT)
            ]
            values = read_values(kept)
            step = restore()
            assign_values(kept, values)
        self._times = self._times + 1 if step == self._last else 1
        self._last = step
        if self._times > MAX_REWINDS:
            return NotFinite(
                f"{trouble.message}; after {MAX_REWINDS} rewinds to the checkpoint of step {step} there is no other"
            )
        self.count += 1
        self._tell(
            f"{trouble.message}; the run goes on from the checkpoint of step {step}, with the next batches"
        )
        return None

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "times": self._times, "last": self._last}

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self._times, self._last = (
            state["count"],
            state["times"],
            state["last"],
        )


def overflowed(row: Mapping[str, Any]) -> Any:
    """Where the scaled gradient was not finite, though the loss was, and the scale can still halve.

    A loss that is not finite has another cause: the forward pass does not know the scale.
    """
    lost = (row["finite"] == 0) & ~np.isfinite(row["grad_norm"])
    return lost & np.isfinite(row["loss"]) & (row.get("loss_scale", LEAST) > LEAST)


class SkippedSteps:
    """Owns the count of a run's updates that were not applied."""

    def __init__(self):
        self._overflows = self._lost = self._spikes = 0
        self._first: int | None = None  # step that was lost, or had a spike

    def add(self, step: int, row: Mapping[str, Any]) -> None:
        """Take in the last step of a call, which is the only one of it that can have been skipped."""
        if overflowed(row):
            self._overflows += 1

    def record(self, step: int, spike: bool) -> None:
        """Take in a step that went wrong."""
        self._lost, self._spikes = self._lost + (not spike), self._spikes + spike
        self._first = self._first or step

    @property
    def count(self) -> int:
        """How many updates were not applied, without the overflows of a loss scale."""
        return self._lost + self._spikes

    def state(self) -> dict[str, Any]:
        return {
            "overflows": self._overflows,
            "lost": self._lost,
            "spikes": self._spikes,
            "first": self._first,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._overflows, self._lost = state["overflows"], state["lost"]
        self._spikes, self._first = state["spikes"], state["first"]

    def remark(self, steps: int) -> str | None:
        """What to know of a run of so many steps; that a loss scale overflows now and then is no news."""
        said, of = [], f"of {steps} updates were skipped"
        if self.count:
            said.append(f"{self.count} {of} {self._causes()}")
        if self._overflows > steps / 2:
            said.append(
                f"{self._overflows} {of} where gradients overflowed in float16; look at loss_scale in TensorBoard, and "
                "train longer, or with training.precision: mixed_bfloat16"
            )
        return "; and ".join(said) or None

    def _causes(self) -> str:
        wheres = ["where the loss, a gradient or the update was not finite"] * bool(
            self._lost
        )
        wheres += ["where the gradient norm was far beyond those before"] * bool(
            self._spikes
        )
        return (
            f"{' or '.join(wheres)}, first at step {self._first}; look at the learning rate, the loss, and "
            "grad_norm_max and nonfinite_grads in TensorBoard"
        )


STEPS_KEPT = 100
_NAMES_SHOWN = 5

Kind = Literal["loss", "gradient", "update", "spike"]


class BadStep(NamedTuple):
    """A step whose update was not applied: its number, the first being 1, what went wrong, and that in one line.

    `rows` are those of the last steps up to this one, at most STEPS_KEPT.
    """

    step: int
    kind: Kind
    message: str
    rows: Rows


class StepHistory:
    """Owns the rows of a run's last steps, as the calls gave them."""

    def __init__(self, names: Sequence[str], norm_range: SpikeDetector | None = None):
        self._names, self._norm_range = (
            names,
            norm_range or SpikeDetector(),
        )  # the names of the parameters
        self._calls: deque[Rows] = deque()
        self._steps = 0

    def add(self, rows: Rows) -> None:
        """Take in the rows of a call."""
        self._calls.append(rows)
        self._steps += len(rows["finite"])
        while self._steps - len(self._calls[0]["finite"]) >= STEPS_KEPT:
            self._steps -= len(self._calls.popleft()["finite"])

    def trouble(self, step: int) -> BadStep | None:
        """What was wrong with the last step, whose number is given; None where nothing was."""
        row = {name: values[-1] for name, values in self._calls[-1].items()}
        # An overflow in half precision is no trouble: the loss scale halves, until there is nothing left to halve.
        if row["finite"] > 0 or overflowed(row):
            return None
        kind = self._kind(row)
        if kind == "spike":
            message = self._spike(row, step)
        else:
            message = (
                _bad_update(row, step)
                if kind == "update"
                else _not_finite(row, step, self._names)
            )
        return BadStep(step, kind, message, self._rows())

    def _kind(self, row: Rows) -> Kind:
        if not np.isfinite(row["loss"]):
            return "loss"
        if not np.isfinite(row["grad_norm"]):
            return "gradient"
        return "spike" if self._norm_range.is_spike(row["grad_norm"]) else "update"

    def _spike(self, row: Rows, step: int) -> str:
        limit = self._norm_range.limit()
        return (
            f"the gradient norm {row['grad_norm']:.3g} at step {step} is far beyond those before, of which none came "
            f"near {limit:.3g}; that update was not applied (loss {row['loss']:g}; training.spike sets how far is too "
            "far)"
        )

    def _rows(self) -> Rows:
        return {
            name: np.concatenate([call[name] for call in self._calls])[-STEPS_KEPT:]
            for name in self._calls[-1]
        }


def _bad_update(row: Rows, step: int) -> str:
    rate, norm = row["learning_rate"], row["clipped_grad_norm"]
    what = f"the update was not finite at step {step}, though the gradient was; it was not applied"
    return f"{what} (learning rate {rate:g}, clipped gradient norm {norm:g})"


def _not_finite(row: Rows, step: int, names: Sequence[str]) -> str:
    wrong = [
        name
        for name, norm in zip(names, row["grad_norms"], strict=True)
        if not np.isfinite(norm)
    ]
    shown = wrong[:_NAMES_SHOWN] + (
        [f"{len(wrong) - _NAMES_SHOWN} more"] if len(wrong) > _NAMES_SHOWN else []
    )
    where = f", gradients not finite in {', '.join(shown)}" if wrong else ""
    what = f"the loss or a gradient was not finite at step {step}; that update was not applied"
    return f"{what} (loss {row['loss']:g}{where})"
