"""Who is told what came of the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tftrain.core.background import Points
from tftrain.core.metric_aggregator import Rows
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import Observer, Stop

if TYPE_CHECKING:
    from tftrain.core.bad_steps import BadStep


@dataclass(frozen=True)
class Callback:
    """Who is told.

    `observers` see each point, and with `each_point` before another step is taken; otherwise points without a view may
    come some at a time. `record(points)` gets them after each call, `on_call(step, last row)` is called then,
    `save(step)` makes a checkpoint and `draw(step)` pictures, with `last` where the run ends early.
    `on_trouble(trouble)` is called at each step that went wrong, before anything is done about it: all is as it was
    before that step, but for the count of steps and the loss scale. `rewind(trouble)` is what is done where the plan
    says so, or gives the reason to stop. The seconds that all this takes are entered in the `ledger`.
    """

    observers: Sequence[Observer] = ()
    on_call: Callable[[int, Rows], None] = lambda step, row: None
    save: Callable[[int], None] = lambda step: None
    record: Callable[[Points], None] = lambda points: None
    on_trouble: Callable[[BadStep], None] = lambda trouble: None
    rewind: Callable[[BadStep], Stop | None] = lambda trouble: None
    asked: Callable[[], Stop | None] = lambda: None
    draw: Callable[..., None] = lambda step, last=False: None
    each_point: bool = True
    ledger: PhaseTimer = field(default_factory=PhaseTimer)
