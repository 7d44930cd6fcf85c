"""Going back to the last checkpoint, where a step went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tftrain.core import replication
from tftrain.core.core_variables import read, write
from tftrain.core.state import TrainState
from tftrain.core.trouble import Trouble
from tftrain.core.types import NotFinite

_KEPT = ("metrics/", "norm_range/")  # groups of variables
MOST = 3  # to one checkpoint; who comes to grief once more will do so again


class Rewinds:
    """Owns the count of a run's rewinds.

    What has been learned since the checkpoint is forgotten, but no data is seen twice (Chowdhery et al., 2022, section
    5.1): the count of steps stays, so that the next batches follow, and so do the metrics' counts of the steps that
    were taken, and the range of gradient norms with the spikes that were seen. `tell(line)` is called each time.
    """

    def __init__(self, state: TrainState, tell: Callable[[str], None] = print):
        self._state, self._tell = state, tell
        self.count = self._times = 0  # in all, and to the last checkpoint
        self._last: int | None = None  # the step of that

    def back(self, trouble: Trouble, restore: Callable[[], int]) -> NotFinite | None:
        """Go back by `restore()`, which gives the checkpoint's step; or the reason to stop."""
        with replication.scope_of(self._state.step):
            named = self._state.variables_by_name().items()
            kept = [variable for name, variable in named if name == "step" or name.startswith(_KEPT)]
            values = read(kept)
            step = restore()
            write(kept, values)
        self._times = self._times + 1 if step == self._last else 1
        self._last = step
        if self._times > MOST:
            return NotFinite(
                f"{trouble.message}; after {MOST} rewinds to the checkpoint of step {step} there is no other"
            )
        self.count += 1
        self._tell(f"{trouble.message}; the run goes on from the checkpoint of step {step}, with the next batches")
        return None

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "times": self._times, "last": self._last}

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self._times, self._last = state["count"], state["times"], state["last"]
