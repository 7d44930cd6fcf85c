"""A trace of some steps by TensorFlow's profiler, where TensorBoard looks for it."""

from __future__ import annotations

import warnings
from pathlib import Path

import tensorflow as tf

from tftrain.core.callback import Callback
from tftrain.core.types import Rows
from tftrain.runtime.terminal import say


class Profiler(Callback):
    """Runs TensorFlow's profiler over some steps of a run.

    Args:
        folder: that of the run.
        first: the first step that is traced.
        last: the last one.
    """

    phase = "profile"

    def __init__(self, folder: Path, first: int, last: int):
        self._folder, self._first, self._last = folder, first, last
        self._running = False
        self._step = 0

    def on_train_begin(self, step: int) -> None:
        """Start the profiler where the run begins with the steps, or within them."""
        self.on_call_end(step, {})

    def on_call_end(self, step: int, row: Rows) -> None:
        """Start or stop the profiler, by how far the run has come."""
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
        ):  # such as one that TensorBoard started
            warnings.warn(
                "no profile is written, because another profiler is running",
                stacklevel=2,
            )
            self._last = 0
            return
        self._first = first
        self._running = True

    def close(self) -> None:
        """Write the trace, where there is one, and report its folder."""
        if not self._running:
            return
        self._running = False
        if self._step < self._first:
            tf.profiler.experimental.stop(save=False)
            return
        tf.profiler.experimental.stop()
        folder = self._folder / "plugins" / "profile"
        say(f"profile of steps {self._first} to {self._step}: {folder}")
