"""Steps that went wrong: what was wrong, and the rows of the steps before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from tftrain.core.skips import overflowed
from tftrain.core.window import Rows

STEPS_KEPT = 100
_NAMES_SHOWN = 5

Kind = Literal["loss", "gradient", "update", "spike"]


class Trouble(NamedTuple):
    """A step whose update was not applied: its number, the first being 1, what went wrong, and that in one line.

    `rows` are those of the last steps up to this one, at most STEPS_KEPT.
    """

    step: int
    kind: Kind
    message: str
    rows: Rows


class Recent:
    """Owns the rows of a run's last steps, as the calls gave them."""

    def __init__(self, names: Sequence[str]):
        self._names = names  # of the parameters
        self._calls: deque[Rows] = deque()
        self._steps = 0

    def add(self, rows: Rows) -> None:
        """Take in the rows of a call."""
        self._calls.append(rows)
        self._steps += len(rows["finite"])
        while self._steps - len(self._calls[0]["finite"]) >= STEPS_KEPT:
            self._steps -= len(self._calls.popleft()["finite"])

    def trouble(self, step: int) -> Trouble | None:
        """What was wrong with the last step, whose number is given; None where nothing was."""
        row = {name: values[-1] for name, values in self._calls[-1].items()}
        # An overflow in half precision is no trouble: the loss scale halves, until there is nothing left to halve.
        if row["finite"] > 0 or overflowed(row):
            return None
        kind = "gradient" if np.isfinite(row["loss"]) else "loss"
        return Trouble(step, kind, _not_finite(row, step, self._names), self._rows())

    def _rows(self) -> Rows:
        return {name: np.concatenate([call[name] for call in self._calls])[-STEPS_KEPT:] for name in self._calls[-1]}


def _not_finite(row: Rows, step: int, names: Sequence[str]) -> str:
    wrong = [name for name, norm in zip(names, row["grad_norms"], strict=True) if not np.isfinite(norm)]
    shown = wrong[:_NAMES_SHOWN] + ([f"{len(wrong) - _NAMES_SHOWN} more"] if len(wrong) > _NAMES_SHOWN else [])
    where = f", gradients not finite in {', '.join(shown)}" if wrong else ""
    what = f"the loss or a gradient was not finite at step {step}; that update was not applied"
    return f"{what} (loss {row['loss']:g}{where})"
