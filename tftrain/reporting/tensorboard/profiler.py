"""A trace of some steps by TensorFlow's profiler, where TensorBoard looks for it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrain.runtime.terminal import say


class Profiler:
    """Owns the profiler, from when it is told of the step before `first` until `last`, or until `close()`."""

    def __init__(self, folder: Path, first: int, last: int):
        self._folder, self._first, self._last = folder, first, last
        self._running = False
        self._step = 0

    def on_call(self, step: int, row: Any = None) -> None:
        """Takes in how far the run has come; a run that goes on from within the steps is traced from there."""
        self._step = step
        if self._running and step >= self._last:
            self.close()
        elif not self._running and self._first - 1 <= step < self._last:
            self._start(step + 1)

    def _start(self, first: int) -> None:
        try:
            tf.profiler.experimental.start(str(self._folder))
        except (
            tf.errors.AlreadyExistsError
        ):  # such as one that TensorBoard was asked for
            warnings.warn(
                "no profile is written, because another profiler is running",
                stacklevel=2,
            )
            self._last = 0
            return
        self._first, self._running = first, True

    def close(self) -> None:
        """Writes what has been traced, and says so; of no step there is nothing to say."""
        if not self._running:
            return
        self._running = False
        if self._step < self._first:
            tf.profiler.experimental.stop(save=False)
            return
        tf.profiler.experimental.stop()
        say(
            f"profile of steps {self._first} to {self._step}: {self._folder / 'plugins' / 'profile'}"
        )
