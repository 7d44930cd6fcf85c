"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Ledger:
    """Owns the seconds that each kind of work took, such as `input` or `step`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            self.add(kind, self._clock() - began)

    def add(self, kind: str, seconds: float) -> None:
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds
