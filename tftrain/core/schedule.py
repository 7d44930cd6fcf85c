"""When what is wanted in a run, and how its steps are cut into calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tftrain.core.types import View

Trigger = Callable[
    [int], int
]  # the next step, after this one, at which something is wanted; the first step is 1
NOTHING_DUE, POINT, MEASURED = (
    0,
    1,
    2,
)  # what there is at the end of a stretch of steps


class Segment(NamedTuple):
    """The steps of a call up to number `end`, which counts from the start of the call."""

    end: int
    kind: int = NOTHING_DUE


def every(steps: int) -> Trigger:
    """At each multiple of `steps`."""
    return lambda step: (step // steps + 1) * steps


def doubling_then_every(steps: int) -> Trigger:
    """At 1, 2, 4, 8, ... while these lie closer than `steps`, then at each multiple of `steps`."""

    def next_after(step: int) -> int:
        power = 2 ** step.bit_length()
        return power if power // 2 < steps else every(steps)(step)

    return next_after


def thinning(steps: int) -> Trigger:
    """At each of the first `2 steps`, then at each second one up to `4 steps`, and so on: for runs that may end soon.

    So of n steps there are some `steps log2(n / steps)`, and wherever a run ends these are spread over all of it.
    """

    def next_after(step: int) -> int:
        unit = 2 ** max(((step + 1) // steps).bit_length() - 1, 0)
        return (step // unit + 1) * unit

    return next_after


def at_multiples(cadence: Trigger, steps: int) -> Trigger:
    """Return a trigger at `steps` times what another one gives.

    Args:
        cadence: the other trigger.
        steps: how many.
    """
    return lambda step: steps * cadence(step // steps)


def either(*cadences: Trigger) -> Trigger:
    """Whenever one of them is due."""
    return lambda step: min(cadence(step) for cadence in cadences)


class NextEvent(NamedTuple):
    """The next step at which something is wanted, and what."""

    step: int
    scalars: bool
    histograms: bool
    views: tuple[View, ...]
    checkpoint: bool
    pictures: bool = False

    @property
    def point(self) -> bool:
        """Whether there is a point of every curve of training; histograms always have one beside them."""
        return self.scalars or self.histograms


@dataclass(frozen=True)
class Schedule:
    """How long to train, and what is wanted when; None is never. The last step is due for all but checkpoints.

    `scalars` is when there is a point of every curve of training at the latest: histograms have one beside them, but
    not pictures, with which a run comes to the same numbers as without. At each of the `cuts` a call ends, with nothing
    to be shown.
    """

    total_steps: int
    scalars: Trigger
    histograms: Trigger | None = None
    views: tuple[tuple[Trigger, View], ...] = ()
    checkpoints: Trigger | None = None
    pictures: Trigger | None = None
    steps_per_call: int | Literal["auto"] = "auto"
    on_bad_step: Literal["stop", "skip", "rewind"] = "stop"
    cuts: tuple[int, ...] = ()

    def due_after(self, step: int) -> NextEvent:
        """Return what is due next after a step, and when."""

        def next_step(cadence: Trigger | None) -> int:
            return (
                min(cadence(step), self.total_steps)
                if cadence
                else self.total_steps + 1
            )

        scalars, histograms = (
            next_step(self.scalars),
            next_step(self.histograms),
        )
        views = [(next_step(cadence), view) for cadence, view in self.views]
        checkpoint = (
            self.checkpoints(step) if self.checkpoints else self.total_steps + 1
        )
        pictures = next_step(self.pictures)
        due = min(
            scalars,
            histograms,
            checkpoint,
            pictures,
            *(view_step for view_step, _ in views),
        )
        due_views = tuple(view for view_step, view in views if view_step == due)
        return NextEvent(
            due,
            scalars == due,
            histograms == due,
            due_views,
            checkpoint == due,
            pictures == due,
        )

    def call_after(
        self, step: int, max_steps: int, each_point: bool
    ) -> list[tuple[Segment, NextEvent]]:
        """Return the segments of the next call, each with what is due at its end or, for the last, later.

        That is a view, a picture, a checkpoint, and with `each_point` every point. The last may be due only later.

        Args:
            step: the last step taken.
            max_steps: of the call.
            each_point: whether the call ends at each point; it always ends at a validation, a plot or a checkpoint.
        """
        stretches, end = [], 0
        max_steps = min(
            [max_steps, *(cut - step for cut in self.cuts if cut > step)]
        )
        while end < max_steps:
            due = self.due_after(step + end)
            end = due.step - step
            if end > max_steps:
                return [*stretches, (Segment(max_steps), due)]
            stretches.append((Segment(end, _segment_kind(due)), due))
            if (
                due.views
                or due.pictures
                or due.checkpoint
                or each_point
                or due.step == self.total_steps
            ):
                break
        return stretches


def _segment_kind(due: NextEvent) -> int:
    if due.histograms:
        return MEASURED
    return POINT if due.point else NOTHING_DUE
