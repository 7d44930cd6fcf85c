"""The pictures of a run: which are due at a step, and what they show of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tftrain.config.component import Component
from tftrain.config.error_context import error_context
from tftrain.core.schedule import Trigger
from tftrain.core.types import LogData, Picture
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.plots.style import pixels
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.runtime.run_dir import safe_name
from tftrain.trainer.plot_context import PlotContextFactory

if TYPE_CHECKING:
    from tftrain.trainer.build import RunContext

GROUP = "pictures"  # of the tags in TensorBoard
UNASKED = 8  # as many times a picture is drawn after the start where the config does not say when
EXAMPLES = 1000  # at least, where there are as many
NEVER = sys.maxsize


class ScheduledPlot(NamedTuple):
    """A picture in the gallery: under which name, how it is drawn, and when."""

    name: str
    part: Component
    draw: Picture
    following: Trigger  # the next step, after this one, at which it is drawn; 0 is before the first
    at_end: bool  # whether it is drawn at the end of the run, whenever that is


class PlotCallback:
    """Owns a run's pictures; each is drawn once when this is made, so that what cannot be drawn is told before."""

    def __init__(self, run: RunContext):
        self._pictures = list(
            map(
                _hung,
                _labelled(run.config.log.pictures),
                [run] * len(run.config.log.pictures),
            )
        )
        batch = -(-run.data.train.examples // run.data.train.steps_per_epoch)
        self._scenes = (
            PlotContextFactory(run, -(-EXAMPLES // batch)) if self._pictures else None
        )
        self._drawn = -1
        scene = self._scenes.at(0, dict) if self._scenes else None
        for one in self._pictures:
            _shown(one, scene)

    def following(self, step: int) -> int:
        """The next step, after this one, at which there is a picture."""
        return min((one.following(step) for one in self._pictures), default=NEVER)

    def draw(
        self, step: int, history: Callable[[], dict[str, Series]], last: bool = False
    ) -> LogData:
        """What is due at a step; `last` says that the run ends there, before the last step that was planned.

        A picture that cannot be drawn any more is told, and the run goes on without it.
        """
        due = [
            one
            for one in self._pictures
            if one.following(step - 1) == step or last and one.at_end
        ]
        if not due or last and step == self._drawn:
            return LogData()
        self._drawn, scene, images = step, self._scenes.at(step, history), {}
        for one in due:
            try:
                shown = _shown(one, scene)
            except (InputError, UserCodeError) as error:
                warnings.warn(f"{error}\nso it is not drawn any more", stacklevel=2)
                self._pictures.remove(one)
                continue
            if shown is not None:
                images[f"{GROUP}/{one.name}"] = shown
        return LogData(images=images)


def _shown(one: ScheduledPlot, scene: Any) -> Any:
    with error_context(one.part, one.part.path):
        drawn = one.draw(scene)
        return None if drawn is None else pixels(drawn)


def _labelled(parts: list[Component]) -> list[tuple[str, Component]]:
    """Each picture with a name of its own, which is safe in the name of a file."""
    found: dict[str, Component] = {}
    for part in parts:
        name = plain = safe_name(part.name.rpartition(":")[2])
        number = 2
        while name in found:
            name, number = f"{plain}_{number}", number + 1
        found[name] = part
    return [*found.items()]


def _hung(labelled: tuple[str, Component], run: RunContext) -> ScheduledPlot:
    name, part = labelled
    total = run.total_steps
    timed = part.with_steps(run.data.train.steps_per_epoch)
    at, every = (
        timed.option("at"),
        timed.option("every") or max(1, -(-total // UNASKED)),
    )
    with error_context(part, part.path):
        draw = part.build()
    if at is not None:
        moments = sorted(
            {min(one, total) for one in at}
        )  # a moment after the end is the end
        return ScheduledPlot(
            name,
            part,
            draw,
            lambda step: next((one for one in moments if one > step), NEVER),
            total in moments,
        )
    return ScheduledPlot(
        name,
        part,
        draw,
        lambda step: 0 if step < 0 else min((step // every + 1) * every, total),
        True,
    )
