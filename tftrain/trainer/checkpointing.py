"""The checkpoints of a run, and in them what callbacks keep outside of variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from tftrain.core import workers
from tftrain.core.callback import Callback
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.state import TrainState
from tftrain.runtime import run_dir, untrusted
from tftrain.runtime.errors import InputError, TrainingError
from tftrain.runtime.terminal import printable
from tftrain.runtime.untrusted import Unreadable

# What reading plain values that are not what a run writes may raise.
_MALFORMED = (
    Unreadable,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    IndexError,
)


class Stateful(Protocol):
    """What a checkpoint keeps as plain values, such as a count."""

    def state(self) -> dict[str, Any]:
        """Return them, as JSON takes them."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take them over."""


class RunCheckpointer(Callback):
    """Saves and restores the checkpoints of a run.

    Args:
        folder: that of the run.
        state: all variables of the run.
        max_to_keep: how many checkpoints stay, beside the best.
        strategy: a tf.distribute.Strategy, or None.

    Attributes:
        start: the step that the session begins after.
        saved: the step of the last checkpoint; None before there is one.
        ended: why a NaN or an infinity ended the run; None where none did.
    """

    phase = "checkpoints"

    def __init__(
        self, folder: Path, state: TrainState, max_to_keep: int, strategy: Any
    ):
        self._folder = folder
        self._state = state
        self._strategy = strategy
        self._stateful: dict[str, Stateful] = {}
        self._checkpoints = CheckpointManager(
            folder / run_dir.CHECKPOINTS, state, max_to_keep
        )
        self.start = 0
        self.saved: int | None = None
        self.ended: str | None = None

    def track(self, **stateful: Stateful | None) -> None:
        """Keep the states of objects in each checkpoint.

        Args:
            stateful: each by its key in the checkpoint, which is part of the file format; None is left out.
        """
        for name, tracked in stateful.items():
            if tracked is not None:
                self._stateful[name] = tracked

    def restore_run(self, folder: Path) -> None:
        """Restore the last checkpoint in a run's folder, where there is one.

        Args:
            folder: that of the checkpointer, or for a worker that is not the chief that of the chief.

        Raises:
            InputError: it cannot be read, or the workers see different ones.
        """
        self._checkpoints.sweep()
        checkpoints = self._checkpoints
        if folder != self._folder:
            checkpoints = CheckpointManager(
                folder / run_dir.CHECKPOINTS, self._state
            )
        try:
            step = checkpoints.restore_latest()
        except ValueError as error:
            raise InputError(f"cannot go on with {folder}: {error}") from None
        (chief_step,) = workers.of_first([step or 0], self._strategy)
        if chief_step != (step or 0):
            raise InputError(
                f"cannot go on with {folder}: the chief is at step {chief_step:.0f}, this worker sees {step}"
            )
        if step is None:
            return
        self.start = step
        self.saved = step
        try:
            self._restore_stateful(folder / run_dir.CHECKPOINTS)
        except _MALFORMED as error:
            problem = f"what its checkpoint remembers is not what a run writes ({type(error).__name__}: {error})"
            raise InputError(
                printable(f"cannot go on with {folder}: {problem}")
            ) from None

    def describe_last(self) -> str:
        """Return of which step the last checkpoint is, in words."""
        if self.saved:
            return f"the last checkpoint is of step {self.saved}"
        return "there is no checkpoint yet"

    def on_checkpoint(self, step: int) -> None:
        """Save a checkpoint."""
        self.save(step)

    def save(self, step: int) -> None:
        """Save a checkpoint of this step."""
        self._store_stateful()
        self._checkpoints.save(step)
        self.saved = step

    def save_best(self, step: int) -> None:
        """Save the best checkpoint, which is of this step."""
        self._store_stateful()
        self._checkpoints.save_best(step)

    def restore_latest(self) -> int:
        """Restore the variables from the last checkpoint, and return its step; the stateful objects stay.

        Raises:
            TrainingError: there is none that can be read.
        """
        try:
            return self._checkpoints.restore_latest()
        except ValueError as error:
            raise TrainingError(f"cannot go back: {error}") from None

    def has_best(self) -> bool:
        """Return whether there is a best checkpoint."""
        return self._checkpoints.has_best()

    def restore_best(self) -> int | None:
        """Restore the variables from the best checkpoint, and return its step; None where there is none.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return self._checkpoints.restore_best()
        except ValueError as error:
            raise InputError(f"checkpoint.restore_best: {error}") from None

    def _store_stateful(self) -> None:
        states = {name: item.state() for name, item in self._stateful.items()}
        self._state.host.text = json.dumps(states | {"ended": self.ended})

    def _restore_stateful(self, source: Path) -> None:
        states = untrusted.parse_json(self._state.host.text, source)
        for name, item in self._stateful.items():
            if name in states:
                item.restore(states[name])
        self.ended = states.get("ended")
