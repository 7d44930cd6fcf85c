"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class PhaseTimer:
    """Owns the seconds that each kind of work took, such as `input` or `step`.

    Work within other work counts for its own kind alone.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._within = [
            0.0
        ]  # seconds that are counted already, of each work that goes on
        self._plain = self._measured = 0

    @contextmanager
    def phase(self, kind: str) -> Iterator[None]:
        """Count the seconds of the block for a kind of work, less those that work within it counts for itself."""
        start = self._clock()
        self._within.append(0.0)
        try:
            yield
        finally:
            seconds = self._clock() - start
            self._add_seconds(kind, seconds - self._within.pop())
            self._within[-1] += seconds

    def timed(
        self, kind: str, action: Callable[..., None]
    ) -> Callable[..., None]:
        """Return an action whose seconds are counted.

        Args:
            kind: of work.
            action: what to do.
        """

        def timed_action(*args: Any, **kwargs: Any) -> None:
            with self.phase(kind):
                action(*args, **kwargs)

        return timed_action

    def split(self, kind: str, target: str, seconds: float) -> None:
        """Count some of the seconds of one kind of work for another.

        Args:
            kind: that they were counted for.
            target: that they belong to.
            seconds: how many.
        """
        self._add_seconds(kind, -seconds)
        self._add_seconds(target, seconds)

    def count(self, plain: int, measured: int) -> None:
        """Add how many steps the seconds of `step` and of `measuring` were for.

        Args:
            plain: steps without probes.
            measured: steps with probes.
        """
        self._plain, self._measured = (
            self._plain + plain,
            self._measured + measured,
        )

    def seconds_by_phase(self) -> dict[str, float]:
        """Seconds by kind; `measuring` is what measured steps took more than others would have.

        Where all steps are measured nobody can tell, and they all count as steps.
        """
        seconds_by_kind = {"step": 0.0, "measuring": 0.0} | self._seconds
        usual = (
            seconds_by_kind["step"] / self._plain * self._measured
            if self._plain
            else seconds_by_kind["measuring"]
        )
        usual = min(usual, seconds_by_kind["measuring"])
        seconds_by_kind["step"], seconds_by_kind["measuring"] = (
            seconds_by_kind["step"] + usual,
            seconds_by_kind["measuring"] - usual,
        )
        return {
            kind: seconds
            for kind, seconds in seconds_by_kind.items()
            if seconds > 0
        }

    def _add_seconds(self, kind: str, seconds: float) -> None:
        self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds
