"""How many steps go into one call of the graph."""

from __future__ import annotations

from typing import Literal

QUICK_SECONDS, SLOW_SECONDS = 0.2, 0.5  # of one call: progress should be seen, and Ctrl-C heard


class Pace:
    """Owns the length of calls: doubled while they are quick, halved when they are slow, if it is not given."""

    def __init__(self, steps_per_call: int | Literal["auto"]):
        self._fixed = steps_per_call != "auto"
        self.steps = steps_per_call if self._fixed else 1

    def adapt(self, steps: int, seconds: float) -> None:
        """Take in how long a call of so many steps took."""
        if self._fixed:
            return
        if seconds > SLOW_SECONDS:
            self.steps = max(self.steps // 2, 1)
        elif seconds < QUICK_SECONDS and steps == self.steps:
            self.steps *= 2
