"""Writers that run on a thread of their own while the graph goes on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any

from tftrain.core.callback import Callback
from tftrain.core.types import Observer, Points

# Calls of the graph whose points wait to be written; where writing is slower than training, training waits.
MAX_WAITING = 4


class BackgroundWriter(Callback):
    """Owns a thread that passes points to writers in their order, until `close()`.

    A writer is called with (step, data). After each batch of points its `flush()` is called, at a checkpoint its
    `sync()`, and at the end its `close()`, where it has them. An error of a writer is raised once, by the next method
    that is called; after that nothing more is written. At the exit of the interpreter the thread finishes its work,
    also where nobody closed it.

    Args:
        writers: they are called on the thread only, but for `sync` and `close`.
    """

    def __init__(self, writers: Sequence[Observer]):
        self._writers = writers
        self._flushes = _methods_of(writers, "flush")
        self._thread = ThreadPoolExecutor(1, "tftrain-writer")
        self._waiting: deque[Future] = deque()
        self._has_failed = False

    def on_points(self, points: Points) -> None:
        """Hand points over to the thread; wait only where too many calls of the graph are not written yet."""
        self._wait_until(MAX_WAITING - 1)
        if points:
            self._waiting.append(
                self._thread.submit(self._write_points, points)
            )

    def on_checkpoint(self, step: int) -> None:
        """Have all points up to here on the disk: a run that is resumed from this checkpoint has them all."""
        self.drain()
        for sync in _methods_of(self._writers, "sync"):
            sync()

    def drain(self) -> None:
        """Wait until everything is written and flushed."""
        self._wait_until(0)

    def close(self) -> None:
        """Write what waits, end the thread, and close every writer, whatever fails."""
        with ExitStack() as stack:
            for close in reversed(_methods_of(self._writers, "close")):
                stack.callback(close)
            stack.callback(self._thread.shutdown)
            stack.callback(self.drain)

    def _wait_until(self, max_waiting: int) -> None:
        """Wait until at most so many batches of points are not written, and raise the errors of those that are."""
        while self._waiting:
            if (
                len(self._waiting) <= max_waiting
                and not self._waiting[0].done()
            ):
                return
            # Ctrl-C may come while waiting; then the batch must stay in the queue.
            wait([self._waiting[0]])
            self._waiting.popleft().result()

    def _write_points(self, points: Points) -> None:
        if self._has_failed:
            return
        try:
            for step, data in points:
                for writer in self._writers:
                    writer(step, data)
                # Release the interpreter, so that the training thread waits no longer than one point takes.
                time.sleep(0)
            for flush in self._flushes:
                flush()
        except BaseException:
            self._has_failed = True
            raise


def _methods_of(writers: Sequence[Observer], name: str) -> list[Any]:
    return [
        getattr(writer, name) for writer in writers if hasattr(writer, name)
    ]
