"""Observers that only write, told on a thread of their own while the graph goes on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from tftrain.core.types import LogData, Observer

Points = list[tuple[int, LogData]]  # in the order of their steps

_MOST_WAITING = (
    4  # calls of the graph; where writing is slower than training, training waits
)


class Aside:
    """Owns a thread that tells observers of points in their order, and what the observers own, until `close()`.

    After each batch of points every observer's `flush()` is called, where it has one. What fails there is raised here,
    once, by whatever is called next; the observers are told nothing more. At the end of the interpreter the thread
    finishes its work, also where nobody closed it.
    """

    def __init__(self, observers: Sequence[Observer]):
        self._observers = observers
        self._flushes = _methods(observers, "flush")
        self._thread = ThreadPoolExecutor(1, "tftrain-aside")
        self._waiting: deque[Future] = deque()
        self._failed = False

    def __call__(self, points: Points) -> None:
        """Hands points over; waits only where too many calls of the graph are not written yet."""
        self._settle(_MOST_WAITING - 1)
        if points:
            self._waiting.append(self._thread.submit(self._tell, points))

    def drain(self) -> None:
        """Waits until all is written and flushed."""
        self._settle(0)

    def close(self) -> None:
        """Writes what waits, ends the thread, and closes every observer that can be closed, whatever fails."""
        with ExitStack() as stack:
            for close in reversed(_methods(self._observers, "close")):
                stack.callback(close)
            stack.callback(self._thread.shutdown)
            stack.callback(self.drain)

    def _settle(self, most: int) -> None:
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            wait(
                [self._waiting[0]]
            )  # Ctrl-C may come while waiting, and then nothing must be forgotten
            self._waiting.popleft().result()

    def _tell(self, points: Points) -> None:
        if self._failed:
            return
        try:
            for step, signals in points:
                for observer in self._observers:
                    observer(step, signals)
                time.sleep(
                    0
                )  # the thread that trains need not wait for the interpreter longer than one point takes
            for flush in self._flushes:
                flush()
        except BaseException:
            self._failed = True
            raise


def _methods(observers: Sequence[Observer], name: str) -> list:
    return [
        getattr(observer, name) for observer in observers if hasattr(observer, name)
    ]
