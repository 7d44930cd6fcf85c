"""Checkpoints of everything that a run needs to go on."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from tftrain.core import replication
from tftrain.core.state import ModelState, TrainState
from tftrain.core.types import Tensor
from tftrain.runtime.atomic_files import (
    make_folder,
    raising_write_error,
    sweep_drafts,
    sync,
    write_text,
)
from tftrain.runtime.tf_errors import short_message
from tftrain.runtime.untrusted import Unreadable, read_text

_STORED = "/.ATTRIBUTES/VARIABLE_VALUE"  # how a tf.train.Checkpoint ends the key of a variable
_HOST = "host"
_MISFITS_SHOWN = 5
# The reader of a damaged file raises Python's own errors too.
_CORRUPT = (tf.errors.OpError, LookupError, RuntimeError)


class CheckpointManager:
    """The newest checkpoints of a state in a folder, and the best one in `best` beside them.

    To be made after the `Programs`, so that every variable exists. `tf.train.load_checkpoint` reads them too.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        state: TrainState | ModelState,
        keep: int = 2,
    ):
        self._state = state
        self._keep = keep
        self._latest = Path(folder)
        self._best = self._latest / "best"
        self._torn: set[Path] = set()

    def has_best(self) -> bool:
        """Whether there is a best checkpoint."""
        return bool(complete_checkpoints(self._best))

    def save(self, step: int) -> None:
        """Write a checkpoint; the oldest go when it is on the disk. Raises CannotWrite."""
        self._save_in(self._latest, step, self._keep)

    def save_best(self, step: int) -> None:
        """Write the best checkpoint, in place of the one before. Raises CannotWrite."""
        self._save_in(self._best, step, 1)

    def sweep(self) -> None:
        """Delete what a write left behind that was cut off."""
        for folder in (self._latest, self._best):
            delete_others(folder, complete_checkpoints(folder))

    def newest(self) -> int | None:
        """The step of the newest checkpoint, or None if there is none."""
        return max(steps_in(self._latest), default=None)

    def restore_latest(self) -> int | None:
        """Put the state back to the newest checkpoint that is whole; its step, or None if there is none at all.

        Raises ValueError where none is whole, or the newest does not fit; the state is then as it was.
        """
        return self._restore_newest(
            self._latest, complete_checkpoints(self._latest)
        )

    def restore_step(self, step: int) -> int | None:
        """Put the state back to the checkpoint of this step, as `restore_latest` does."""
        complete = complete_checkpoints(self._latest)
        names = [name for name in complete if step_of(name) == step]
        return self._restore_newest(self._latest, names)

    def restore_best(self) -> int | None:
        """Put the state back to the best checkpoint, as `restore_latest` does."""
        return self._restore_newest(
            self._best, complete_checkpoints(self._best)
        )

    def _save_in(self, folder: Path, step: int, keep: int) -> None:
        with raising_write_error(folder, tf.errors.OpError):
            for needed_folder in dict.fromkeys((self._latest, folder)):
                make_folder(needed_folder)
            complete = []
            for older in complete_checkpoints(folder):
                if folder / older not in self._torn:
                    complete.append(older)
            delete_others(folder, complete)
            name = unused_name(folder, step)
            self._write_files(str(folder / name))
            # Those of a later step are of a time that the run went back from.
            earlier = [older for older in complete if step_of(older) <= step]
            retained = [*earlier, name][-keep:]
            commit(folder, retained)
            delete_others(folder, retained)

    def _write_files(self, path: str) -> None:
        variables = self._state.variables_by_name()
        with replication.scope_of(self._state.step):
            values = [variable.read_value() for variable in variables.values()]
        # A tf.train.Checkpoint writes the same, but goes through all objects each time, which takes ten times as long.
        keys = [name + _STORED for name in variables]
        keys.append(_HOST)
        with tf.device("CPU"):
            values.append(tf.constant(self._state.host.text))
            tf.raw_ops.SaveV2(
                prefix=path,
                tensor_names=keys,
                shape_and_slices=[""] * len(keys),
                tensors=values,
            )

    def _restore_newest(self, folder: Path, names: list[str]) -> int | None:
        known = listed(folder)
        if names and not known:
            warnings.warn(
                f"{folder / POINTER} is missing or damaged; the checkpoints beside it are used",
                stacklevel=3,
            )
        for name in reversed(names):
            try:
                values = self._read_tensors(str(folder / name))
            except _CORRUPT as error:
                self._torn.add(folder / name)
                # One that is not in the list is of a write that was cut off, before it could count.
                if name in known or not known:
                    why = short_message(str(error)) or type(error).__name__
                    what = f"the checkpoint {folder / name} is damaged; the one before it is used ({why})"
                    warnings.warn(what, stacklevel=3)
                continue
            self._assign_values(values)
            return int(self._state.step.numpy())
        if names:
            raise ValueError(f"no checkpoint in {folder} is whole")
        return None

    def _read_tensors(self, path: str) -> dict[str, Tensor]:
        """All that a checkpoint holds, by key; TensorFlow compares the checksums. Raises ValueError for a misfit."""
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
        types = reader.get_variable_to_dtype_map()
        keys = sorted(shapes)
        stored = {key: tf.TensorSpec(shapes[key], types[key]) for key in keys}
        host = stored.pop(_HOST, None)
        if host is None or host.dtype != tf.string or host.shape.rank != 0:
            raise ValueError(
                f"the checkpoint {path} was not written by a run: it lacks what the host remembers"
            )
        specs = {
            key.removesuffix(_STORED): spec for key, spec in stored.items()
        }
        self._check_tensors(path, specs)
        with tf.device("CPU"):
            values = tf.raw_ops.RestoreV2(
                prefix=path,
                tensor_names=keys,
                shape_and_slices=[""] * len(keys),
                dtypes=[types[key] for key in keys],
            )
        return dict(zip(keys, values, strict=True))

    def _assign_values(self, values: dict[str, Tensor]) -> None:
        with replication.scope_of(self._state.step):
            for name, variable in self._state.variables_by_name().items():
                variable.assign(values[name + _STORED])
        self._state.host.text = values[_HOST].numpy().decode(errors="replace")

    def _check_tensors(
        self, path: str, stored: dict[str, tf.TensorSpec]
    ) -> None:
        """Raise ValueError where the checkpoint does not hold this state's variables, in their shapes."""
        unmatched = dict(stored)
        misfits = []
        for name, variable in self._state.variables_by_name().items():
            value = unmatched.pop(name, None)
            expected = tuple(variable.shape)
            called = f"{name} ({variable.name.removesuffix(':0')})"
            if value is None:
                misfits.append(
                    f"{called} of shape {expected} is not in the checkpoint"
                )
            elif tuple(value.shape) != expected:
                misfits.append(
                    f"{called} has shape {tuple(value.shape)} in the checkpoint, expected {expected}"
                )
            elif value.dtype != variable.dtype:
                misfits.append(
                    f"{called} is {value.dtype.name} in the checkpoint, expected {variable.dtype.name}"
                )
        if self._state.is_whole:
            for name, value in unmatched.items():
                shape = tuple(value.shape)
                misfits.append(
                    f"{name} of shape {shape} is only in the checkpoint"
                )
        if misfits:
            lines = misfits[:_MISFITS_SHOWN]
            if len(misfits) > _MISFITS_SHOWN:
                lines.append(f"and {len(misfits) - _MISFITS_SHOWN} more")
            listing = "\n  ".join(lines)
            raise ValueError(
                f"the checkpoint {path} belongs to another model, optimizer or set of metrics:\n  {listing}"
            )


POINTER = "checkpoint"
FILES = (".data-00000-of-00001", ".index")
_FILE = re.compile(
    r"(?P<name>step-\d+(-\d+)?)(?P<ending>\.index|\.data-00000-of-00001)(?P<unfinished>\.tempstate\d+)?"
)
_LISTED = re.compile(
    r'^all_model_checkpoint_paths: "(step-\d+(?:-\d+)?)"$', re.MULTILINE
)


def listed(folder: Path) -> list[str]:
    """The names in the list; none where it is missing or damaged."""
    try:
        return _LISTED.findall(read_text(folder / POINTER, root=folder))
    except Unreadable:
        return []


def complete_checkpoints(folder: Path) -> list[str]:
    """The names of all that is listed or was written to its end, in the order of their steps."""
    endings: dict[str, set[str]] = {name: set(FILES) for name in listed(folder)}
    for file in _checkpoint_files(folder):
        if not file["unfinished"]:
            endings.setdefault(file["name"], set()).add(file["ending"])
    complete = [
        name for name, present in endings.items() if present == set(FILES)
    ]
    return sorted(complete, key=_step_order)


def step_of(name: str) -> int:
    """Return the step in a checkpoint's name."""
    return _step_order(name)[0]


def steps_in(folder: Path) -> list[int]:
    """The steps that there are checkpoints of, each once, in their order."""
    return sorted({step_of(name) for name in complete_checkpoints(folder)})


def unused_name(folder: Path, step: int) -> str:
    """Return a name for a checkpoint of this step that no file has.

    Args:
        folder: that of the checkpoints.
        step: that of the state.
    """
    taken = {file["name"] for file in _checkpoint_files(folder)}
    name = f"step-{step}"
    number = 1
    while name in taken:
        number += 1
        name = f"step-{step}-{number}"
    return name


def commit(folder: Path, names: list[str]) -> None:
    """List the checkpoints of a folder; when this returns, all of it is on the disk.

    Args:
        folder: that of the checkpoints.
        names: the checkpoints, of which the last is new.
    """
    for ending in FILES:
        sync(folder / (names[-1] + ending))
    sync(folder)
    lines = [f'model_checkpoint_path: "{names[-1]}"']
    for name in names:
        lines.append(f'all_model_checkpoint_paths: "{name}"')
    write_text(folder / POINTER, "\n".join(lines) + "\n")


def delete_others(folder: Path, retained: Collection[str]) -> None:
    """Delete all other checkpoints, and what an interrupted write left behind.

    Args:
        folder: that of the checkpoints.
        retained: the names of those that stay.
    """
    for file in _checkpoint_files(folder):
        if file["unfinished"] or file["name"] not in retained:
            (folder / file[0]).unlink()
    sweep_drafts(folder)


def _checkpoint_files(folder: Path) -> list[re.Match]:
    try:
        with os.scandir(folder) as scanned:
            entries = list(scanned)
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = []
    for entry in entries:
        match = _FILE.fullmatch(entry.name)
        # A link or a named pipe is no part of a checkpoint.
        if match and entry.is_file(follow_symlinks=False):
            matches.append(match)
    return matches


def _step_order(name: str) -> tuple[int, int]:
    _, step, *repeat = name.split("-")
    number = int(repeat[0]) if repeat else 1
    return int(step), number
