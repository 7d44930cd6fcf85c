"""Steps whose update was not applied: which of them a smaller loss scale may cure, and how many there were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tftrain.core.scale import LEAST


def overflowed(row: Mapping[str, Any]) -> Any:
    """Where the scaled gradient was not finite, though the loss was, and the scale can still halve.

    A loss that is not finite has another cause: the forward pass does not know the scale.
    """
    lost = (row["finite"] == 0) & ~np.isfinite(row["grad_norm"])
    return lost & np.isfinite(row["loss"]) & (row.get("loss_scale", LEAST) > LEAST)


class Skips:
    """Owns the count of a run's updates that were not applied."""

    def __init__(self):
        self._overflows = self._lost = self._spikes = 0
        self._first: int | None = None  # step that was lost, or had a spike

    def add(self, step: int, row: Mapping[str, Any]) -> None:
        """Take in the last step of a call, which is the only one of it that can have been skipped."""
        if overflowed(row):
            self._overflows += 1

    def lose(self, step: int, spike: bool) -> None:
        """Take in a step that went wrong."""
        self._lost, self._spikes = self._lost + (not spike), self._spikes + spike
        self._first = self._first or step

    @property
    def count(self) -> int:
        """How many updates were not applied, without the overflows of a loss scale."""
        return self._lost + self._spikes

    def state(self) -> dict[str, Any]:
        return {
            "overflows": self._overflows,
            "lost": self._lost,
            "spikes": self._spikes,
            "first": self._first,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._overflows, self._lost = state["overflows"], state["lost"]
        self._spikes, self._first = state["spikes"], state["first"]

    def remark(self, steps: int) -> str | None:
        """What to know of a run of so many steps; that a loss scale overflows now and then is no news."""
        said, of = [], f"of {steps} updates were skipped"
        if self.count:
            said.append(f"{self.count} {of} {self._causes()}")
        if self._overflows > steps / 2:
            said.append(
                f"{self._overflows} {of} where gradients overflowed in float16; look at loss_scale in TensorBoard, and "
                "train longer, or with training.precision: mixed_bfloat16"
            )
        return "; and ".join(said) or None

    def _causes(self) -> str:
        wheres = ["where the loss, a gradient or the update was not finite"] * bool(self._lost)
        wheres += ["where the gradient norm was far beyond those before"] * bool(self._spikes)
        return (
            f"{' or '.join(wheres)}, first at step {self._first}; look at the learning rate, the loss, and "
            "grad_norm_max and nonfinite_grads in TensorBoard"
        )
