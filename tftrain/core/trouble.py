"""Steps that went wrong: what was wrong, and the rows of the steps before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from tftrain.core.guards import NormRange
from tftrain.core.metric_aggregator import Rows
from tftrain.core.skips import overflowed

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

    def __init__(self, names: Sequence[str], norm_range: NormRange | None = None):
        self._names, self._norm_range = names, norm_range or NormRange()  # the names of the parameters
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
        kind = self._kind(row)
        if kind == "spike":
            message = self._spike(row, step)
        else:
            message = _bad_update(row, step) if kind == "update" else _not_finite(row, step, self._names)
        return Trouble(step, kind, message, self._rows())

    def _kind(self, row: Rows) -> Kind:
        if not np.isfinite(row["loss"]):
            return "loss"
        if not np.isfinite(row["grad_norm"]):
            return "gradient"
        return "spike" if self._norm_range.is_spike(row["grad_norm"]) else "update"

    def _spike(self, row: Rows, step: int) -> str:
        limit = self._norm_range.limit()
        return (
            f"the gradient norm {row['grad_norm']:.3g} at step {step} is far beyond those before, of which none came "
            f"near {limit:.3g}; that update was not applied (loss {row['loss']:g}; training.spike sets how far is too "
            "far)"
        )

    def _rows(self) -> Rows:
        return {name: np.concatenate([call[name] for call in self._calls])[-STEPS_KEPT:] for name in self._calls[-1]}


def _bad_update(row: Rows, step: int) -> str:
    rate, norm = row["learning_rate"], row["clipped_grad_norm"]
    what = f"the update was not finite at step {step}, though the gradient was; it was not applied"
    return f"{what} (learning rate {rate:g}, clipped gradient norm {norm:g})"


def _not_finite(row: Rows, step: int, names: Sequence[str]) -> str:
    wrong = [name for name, norm in zip(names, row["grad_norms"], strict=True) if not np.isfinite(norm)]
    shown = wrong[:_NAMES_SHOWN] + ([f"{len(wrong) - _NAMES_SHOWN} more"] if len(wrong) > _NAMES_SHOWN else [])
    where = f", gradients not finite in {', '.join(shown)}" if wrong else ""
    what = f"the loss or a gradient was not finite at step {step}; that update was not applied"
    return f"{what} (loss {row['loss']:g}{where})"
