"""Checkpoints of everything that a run needs to go on."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

from tftrain.core.state import TrainState

_STORED = "/.ATTRIBUTES/VARIABLE_VALUE"  # how a tf.train.Checkpoint ends the key of a variable
_MISFITS_SHOWN = 5


class Checkpoints:
    """The newest checkpoints of a state in a folder, and the best one in `best` beside them.

    To be made after the `Programs`, so that every variable exists.
    """

    def __init__(self, folder: str | os.PathLike, state: TrainState, keep: int = 2):
        self._state = state
        variables = {}
        for name, variable in state.variables_by_name().items():
            group, _, member = name.partition("/")
            if member:
                variables.setdefault(group, {})[member] = variable
            else:
                variables[group] = variable
        self._checkpoint = tf.train.Checkpoint(**variables, host=state.host)
        self._latest = self._manager(Path(folder), keep)
        self._best = self._manager(Path(folder) / "best", 1)

    def _manager(self, folder: Path, keep: int) -> tf.train.CheckpointManager:
        return tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=keep, checkpoint_name="step")

    def save(self, step: int) -> None:
        self._latest.save(checkpoint_number=step)

    def save_best(self, step: int) -> None:
        self._best.save(checkpoint_number=step)

    def newest(self) -> int | None:
        """The step of the newest checkpoint, or None if there is none."""
        path = self._latest.latest_checkpoint
        return int(path.rpartition("-")[2]) if path else None

    def restore_latest(self) -> int | None:
        """Put the state back to the newest checkpoint; its step, or None if there is none. Raises ValueError."""
        return self._restore(self._latest)

    def restore_best(self) -> int | None:
        """Put the state back to the best checkpoint; its step, or None if there is none. Raises ValueError."""
        return self._restore(self._best)

    def _restore(self, manager: tf.train.CheckpointManager) -> int | None:
        path = manager.latest_checkpoint
        if path is None:
            return None
        self._check(path)
        self._checkpoint.restore(path).assert_consumed()
        return int(self._state.step.numpy())

    def _check(self, path: str) -> None:
        """Raise ValueError where the checkpoint does not hold this state's variables, in their shapes."""
        stored = tf.train.load_checkpoint(path).get_variable_to_shape_map()
        stored = {key.removesuffix(_STORED): tuple(shape) for key, shape in stored.items() if key.endswith(_STORED)}
        stored.pop("save_counter", None)
        misfits = []
        for name, variable in self._state.variables_by_name().items():
            shape, expected = stored.pop(name, None), tuple(variable.shape)
            called = f"{name} ({variable.name.removesuffix(':0')})"
            if shape is None:
                misfits.append(f"{called} of shape {expected} is not in the checkpoint")
            elif shape != expected:
                misfits.append(f"{called} has shape {shape} in the checkpoint, expected {expected}")
        misfits += [f"{name} of shape {shape} is only in the checkpoint" for name, shape in sorted(stored.items())]
        if misfits:
            more = [f"and {len(misfits) - _MISFITS_SHOWN} more"] if len(misfits) > _MISFITS_SHOWN else []
            raise ValueError(
                f"the checkpoint {path} belongs to another model, optimizer or set of metrics:\n  "
                + "\n  ".join(misfits[:_MISFITS_SHOWN] + more)
            )
