"""How many steps go into one call of the graph."""

from __future__ import annotations

from typing import Literal

QUICK_SECONDS, SLOW_SECONDS = 0.2, 0.5  # of one call: progress should be seen, and Ctrl-C heard


class Pace:
    """Owns the length of calls: one step at first; then what is given, or else twice as many while calls are quick.

    The first call sets up the graph, and it is known how long that took only where it does little else.
    """

    def __init__(self, steps_per_call: int | Literal["auto"]):
        self._given = steps_per_call
        self.steps = 1

    def adapt(self, steps: int, seconds: float) -> None:
        """Take in how long a call of so many steps took."""
        if self._given != "auto":
            self.steps = self._given
        elif seconds > SLOW_SECONDS:
            self.steps = max(self.steps // 2, 1)
        elif seconds < QUICK_SECONDS and steps == self.steps:
            self.steps *= 2
