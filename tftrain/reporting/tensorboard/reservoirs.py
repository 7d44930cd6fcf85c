"""How many points TensorBoard keeps: of a curve that has more it drops some by chance, and often the first ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tftrain.core.types import LogData

SCALARS, HISTOGRAMS, IMAGES = 1000, 100, 10  # that TensorBoard keeps of each tag
VALIDATION = "val_"
MEASURED = "zero_grad_fraction"  # tells a point at which all is measured
_PLANNED = {
    "training": 500,
    "validation": 500,
    "measured": 50,
}  # in a run from its start to its end
_ROOM = {
    "training": SCALARS - 150,
    "validation": SCALARS - 50,
    "measured": HISTOGRAMS,
}  # less what is always drawn
# Of a run that may end soon points are a share of its steps apart, one in so many, so that up to a million steps there
# are about as many as TensorBoard keeps; those at which all is measured are planned so, but for where it may end.
_OPEN = {"training": 100, "validation": 64, "measured": 10}
_SPREAD = 1.4  # of what is left a longer run leaves some for one that is longer still
_LARGEST, _SUMMED = (
    ("grad_norm_max",),
    ("nonfinite_steps",),
)  # of points that are not drawn: no spike is lost


class Reservoirs:
    """Owns the counts of points that are drawn, of all sessions together, and leaves out those that are too many.

    That is where validations are many, or where a run is made longer again and again. What stands at steps 1, 2, 4,
    8, ... and at the last one is always there; so is every point of a kind that is `wished`. A run is `open_ended`
    where it may stop before its last step, and is planned so.
    """

    def __init__(
        self,
        total_steps: int,
        wished: frozenset[str] = frozenset(),
        open_ended: bool = False,
    ):
        self._total, self._wished, self._open_ended = total_steps, wished, open_ended
        self._counts, self._last = (
            dict.fromkeys(_PLANNED, 0),
            dict.fromkeys(_PLANNED, 0),
        )
        self._carried: dict[str, float] = {}  # from points that were not drawn
        self._left_out: tuple[int, LogData] | None = None  # of the last point
        self.begin(0)

    def state(self) -> dict[str, Any]:
        return {"counts": self._counts, "last": self._last, "carried": self._carried}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._counts, self._last, self._carried = (
            {**state[name]} for name in ("counts", "last", "carried")
        )

    def begin(self, start_step: int) -> None:
        """Plan a session; one that only goes on has the gaps that it had."""
        ahead = _SPREAD * (self._total - start_step)
        rooms = {
            kind: max(room - self._counts[kind], 1) for kind, room in _ROOM.items()
        }
        self._gaps = {
            kind: max(self._total // _PLANNED[kind], int(ahead / room))
            for kind, room in rooms.items()
        }

    def thinned(self, step: int, signals: LogData) -> LogData:
        """What is drawn of a point; pictures and texts always are, and come without one."""
        scalars, nothing = signals.scalars, {}
        if not scalars and not signals.histograms:
            return signals
        training = {
            name: value
            for name, value in scalars.items()
            if not name.startswith(VALIDATION)
        }
        validation = {
            name: value
            for name, value in scalars.items()
            if name.startswith(VALIDATION)
        }
        measured = bool(MEASURED in training or signals.histograms) and self._is_drawn(
            "measured", step
        )
        trained = bool(training) and self._is_drawn("training", step, measured)
        validated = bool(validation) and self._is_drawn("validation", step)
        training = self._with_carried(training)
        if training:
            kept = () if trained else (*_LARGEST, *_SUMMED)
            self._carried = {name: training[name] for name in kept if name in training}
        histograms = signals.histograms if measured or not training else nothing
        drawn = (training if trained else nothing) | (
            validation if validated else nothing
        )
        left = (nothing if trained else training) | (
            nothing if validated else validation
        )
        lacking = nothing if histograms else signals.histograms
        self._left_out = (step, LogData(left, lacking)) if left or lacking else None
        return signals._replace(scalars=drawn, histograms=histograms)

    def last(self) -> tuple[int, LogData] | None:
        """What is missing of the last point, where a run ends with it."""
        return self._left_out

    def _is_drawn(self, kind: str, step: int, anyway: bool = False) -> bool:
        early = step & (step - 1) == 0 and self._counts[kind] < _ROOM[kind]
        always = kind in self._wished or step >= self._total or early
        gap = step // _OPEN[kind] if self._open_ended else self._gaps[kind]
        due = not always and step - self._last[kind] >= gap
        if due:
            self._last[kind] = step
        self._counts[kind] += always or due or anyway
        return always or due or anyway

    def _with_carried(self, scalars: dict[str, float]) -> dict[str, float]:
        carried = {
            name: value for name, value in self._carried.items() if name in scalars
        }
        joined = {
            name: fmax(scalars[name], carried[name])
            for name in _LARGEST
            if name in carried
        }
        joined |= {
            name: scalars[name] + carried[name] for name in _SUMMED if name in carried
        }
        return scalars | joined


def fmax(one: float, other: float) -> float:
    """The larger of two numbers; NaN only where both are."""
    return one if other != other or one > other else other
