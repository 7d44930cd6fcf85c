"""What a run remembers from one session to the next: its checkpoints, and in them what is held outside of variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tftrain.core import replication
from tftrain.core.checkpoint import CheckpointManager
from tftrain.runtime import run_dir, untrusted
from tftrain.runtime.errors import InputError, TrainingError
from tftrain.runtime.terminal import printable
from tftrain.runtime.untrusted import Unreadable

if TYPE_CHECKING:
    from tftrain.trainer.build import RunContext


class RunCheckpointer:
    """Owns the checkpoints of a run; each of the `owners` has a `state()` to be kept and a `restore(state)`."""

    def __init__(self, run: RunContext, folder: Path, owners: Mapping[str, Any]):
        self._run, self._folder, self._owners = run, folder, owners
        self._checkpoints = CheckpointManager(
            folder / run_dir.CHECKPOINTS, run.state, run.config.checkpoint.keep
        )
        self.start = 0  # the step that the session begins after
        self.saved: int | None = None  # the step of the last checkpoint
        self.ended: str | None = (
            None  # why a NaN or an infinity ended the run, where one did
        )

    def restore(self, folder: Path) -> None:
        """Go on from the last checkpoint in a run's folder, where there is one."""
        self._checkpoints.sweep()
        own = folder == self._folder  # but for a worker that is not the chief
        checkpoints = (
            self._checkpoints
            if own
            else CheckpointManager(folder / run_dir.CHECKPOINTS, self._run.state)
        )
        try:
            step = checkpoints.restore_latest()
        except ValueError as error:
            raise InputError(f"cannot go on with {folder}: {error}") from None
        (first,) = replication.of_first([step or 0], self._run.strategy)
        if first != (step or 0):
            raise InputError(
                f"cannot go on with {folder}: the chief is at step {first:.0f}, this worker sees {step}"
            )
        if step is None:
            return
        self.start = self.saved = step
        try:
            remembered = untrusted.parse_json(
                self._run.state.host.text, folder / run_dir.CHECKPOINTS
            )
            for name, owner in self._owners.items():
                if name in remembered:
                    owner.restore(remembered[name])
            self.ended = remembered.get("ended")
        except (
            Unreadable,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            IndexError,
        ) as error:
            why = f"what its checkpoint remembers is not what a run writes ({type(error).__name__}: {error})"
            raise InputError(printable(f"cannot go on with {folder}: {why}")) from None

    def save(self, step: int) -> None:
        self._remember()
        self._checkpoints.save(step)
        self.saved = step

    def save_best(self, step: int) -> None:
        self._remember()
        self._checkpoints.save_best(step)

    def back(self) -> int:
        """Put the state back to the last checkpoint; its step. What the owners hold stays."""
        try:
            return self._checkpoints.restore_latest()
        except ValueError as error:
            raise TrainingError(f"cannot go back: {error}") from None

    def has_best(self) -> bool:
        """Whether there is a best checkpoint."""
        return self._checkpoints.has_best()

    def restore_best(self) -> int | None:
        """Put the state back to the best checkpoint; its step, or None where there is none."""
        try:
            return self._checkpoints.restore_best()
        except ValueError as error:
            raise InputError(f"checkpoint.restore_best: {error}") from None

    def _remember(self) -> None:
        remembered = {name: owner.state() for name, owner in self._owners.items()} | {
            "ended": self.ended
        }
        self._run.state.host.text = json.dumps(remembered)
