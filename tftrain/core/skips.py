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
    return (row["finite"] == 0) & np.isfinite(row["loss"]) & (row.get("loss_scale", LEAST) > LEAST)


class Skips:
    """Owns the count of a run's updates that were skipped."""

    def __init__(self):
        self._overflows = self._lost = 0
        self._first: int | None = None  # step that was lost

    def add(self, step: int, row: Mapping[str, Any]) -> None:
        """Take in the last step of a call, which is the only one of it that can have been skipped."""
        if row["finite"]:
            return
        if overflowed(row):
            self._overflows += 1
        else:
            self._lost, self._first = self._lost + 1, self._first or step

    def state(self) -> dict[str, Any]:
        return {"overflows": self._overflows, "lost": self._lost, "first": self._first}

    def restore(self, state: dict[str, Any]) -> None:
        self._overflows, self._lost, self._first = state["overflows"], state["lost"], state["first"]

    def remark(self, steps: int) -> str | None:
        """What to know of a run of so many steps; that a loss scale overflows now and then is no news."""
        said, of = [], f"of {steps} updates were skipped"
        if self._lost:
            said.append(
                f"{self._lost} {of} where the loss or a gradient was not finite, first at step {self._first}; look at "
                "the learning rate, the loss, and nonfinite_grads in TensorBoard"
            )
        if self._overflows > steps / 2:
            said.append(
                f"{self._overflows} {of} where gradients overflowed in float16; look at loss_scale in TensorBoard, and "
                "train longer, or with training.precision: mixed_bfloat16"
            )
        return "; and ".join(said) or None
