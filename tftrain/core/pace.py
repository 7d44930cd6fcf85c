"""How many steps go into one call, and which executor runs them: found by measuring."""

from __future__ import annotations

from typing import Literal

from tftrain.core.executor import DEFAULT, SERIAL

QUICK_SECONDS, SLOW_SECONDS = 0.2, 0.5  # of one call: progress should be seen, and Ctrl-C heard
LOOKS = 3  # calls in each executor that are compared


class Pace:
    """Owns the length of calls: doubled while they are quick, halved when they are slow, if it is not given.

    Where it `may_choose` the executor, it tries the serial one as soon as that costs little: an executor's first call
    takes time to set up. Both do the same to the bit.
    """

    def __init__(self, steps_per_call: int | Literal["auto"], may_choose: bool = False):
        self._fixed = steps_per_call != "auto"
        self.steps = steps_per_call if self._fixed else 1
        self.executor = DEFAULT
        self._may_choose = may_choose
        self._setup: float | None = None
        self._spent = 0.0
        self._looks: dict[str, list[float]] = {DEFAULT: [], SERIAL: []}

    def adapt(self, steps: int, seconds: float, steps_left: int) -> None:
        """Take in a call, and how many steps there are still to run."""
        if self._may_choose:
            self._choose(seconds / steps, seconds, steps_left)
        if self._fixed:
            return
        if seconds > SLOW_SECONDS:
            self.steps = max(self.steps // 2, 1)
        elif seconds < QUICK_SECONDS and steps == self.steps:
            self.steps *= 2

    def _choose(self, per_step: float, seconds: float, steps_left: int) -> None:
        if self._setup is None:
            self._setup = seconds
            return
        self._spent += seconds
        trying = any(self._looks.values())
        if not trying and (self._spent < 2 * self._setup or steps_left * per_step < 2 * self._setup):
            return
        self._looks[self.executor].append(per_step)
        if len(self._looks[SERIAL]) <= LOOKS:  # its first look is its setup
            self.executor = SERIAL if self.executor == DEFAULT else DEFAULT
            return
        default, serial = min(self._looks[DEFAULT]), min(self._looks[SERIAL][1:])
        self.executor, self._may_choose = (SERIAL if serial < default else DEFAULT), False
