"""The host's side of training: it calls the graph, and tells all who watch what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from tftrain.core.background import Points
from tftrain.core.bad_steps import BadStep, StepHistory
from tftrain.core.callback import Callback
from tftrain.core.compiled_steps import CallResult, CompiledSteps
from tftrain.core.metric_aggregator import MetricAggregator, new_window
from tftrain.core.schedule import MEASURED, NOTHING_DUE, NextEvent, Schedule, Segment
from tftrain.core.state import TrainState
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import BatchSource, LogData, NotFinite, Stop
from tftrain.core.variables import parameter_names


def train(
    programs: CompiledSteps,
    state: TrainState,
    feed: BatchSource,
    plan: Schedule,
    sinks: Callback,
    clock: Callable[[], float] = time.perf_counter,
    *,
    window: MetricAggregator | None = None,
) -> Stop | None:
    """Train from the state's step to the plan's last; what ended it early, where something did.

    A `window` that is given may hold steps of an earlier session.
    """
    window = window or new_window(state, feed.steps_per_epoch)
    pace, recent = (
        StepsPerCall(plan.steps_per_call),
        StepHistory(parameter_names(state.model), state.norm_range),
    )
    ledger, step, ready = sinks.ledger, int(state.step.numpy()), set()
    while step < plan.total_steps:
        most = min(feed.run_length(step), pace.steps, state.norm_range.look(step))
        cut = plan.call_after(step, most, sinks.each_point or programs.each_point)
        began, needs = clock(), _compile_keys(programs, feed, cut, step)
        with ledger.phase("input"):
            handle = feed.serve(step, cut[-1][0].end)
        kind = "step" if needs <= ready else "compiling"
        with ledger.phase(kind):
            found = programs.run(handle, [stretch for stretch, _ in cut])
        seconds, done = clock() - began, len(found.rows["finite"])
        ledger.split(kind, "input", found.input)
        if kind == "step":
            _split_measured(ledger, cut, found)
        ready |= needs
        pace.adapt(done, seconds)
        step += done
        with ledger.phase("writing"):
            sinks.on_call(
                step, {name: values[-1] for name, values in found.rows.items()}
            )
            points = _points(cut, found, window, step, seconds)
        recent.add(found.rows)
        trouble = recent.trouble(step)
        reason = (
            _handle_bad_step(trouble, state, plan, sinks)
            if trouble is not None
            else None
        )
        if reason is not None:
            _deliver(
                points
                if points and points[-1][0] == step
                else [*points, (step, window.flush(step))],
                sinks,
            )
            return reason
        reason = _dispatch(cut[-1], points, step, sinks) or sinks.asked()
        if reason is not None:
            return reason
    return None


def _compile_keys(
    programs: CompiledSteps,
    feed: BatchSource,
    cut: list[tuple[Segment, NextEvent]],
    step: int,
) -> set[tuple[bool, bool]]:
    """What is set up by the first step that needs it: XLA compiles each kind of step for each size of batch."""
    if not programs.compiled:
        return {(False, False)}
    needs, begin = set(), step
    for stretch, _ in cut:
        end, measured = step + stretch.end, stretch.kind == MEASURED
        # An epoch ends with a batch that may be short.
        needs |= {
            (number % feed.steps_per_epoch == 0, False)
            for number in range(begin + 1, end + 1 - measured)
        }
        if measured:
            needs.add((end % feed.steps_per_epoch == 0, True))
        begin = end
    return needs


def _split_measured(
    ledger: PhaseTimer, cut: list[tuple[Segment, NextEvent]], found: CallResult
) -> None:
    """Tells the measured steps of a call apart, in the time that was counted for its steps."""
    done = len(found.rows["finite"])
    measured = sum(
        stretch.kind == MEASURED and stretch.end <= done for stretch, _ in cut
    )
    ledger.count(done - measured, measured)
    ledger.split("step", "measuring", found.measuring)


def _points(
    cut: list[tuple[Segment, NextEvent]],
    found: CallResult,
    window: MetricAggregator,
    last_step: int,
    seconds: float,
) -> Points:
    """The points that a call came to, which ended at `last_step`."""
    done = len(found.rows["finite"])
    steps = [
        due.step
        for stretch, due in cut
        if stretch.kind != NOTHING_DUE and stretch.end <= done
    ]
    folded = window.aggregate(found.rows, seconds, steps, last_step, found.metrics)
    return [
        (step, point.merged(seen))
        for (step, point), seen in zip(folded, found.signals, strict=True)
    ]


def _with(points: Points, step: int, signals: LogData) -> Points:
    """The points with these signals at a step, which is that of the last one or a later one."""
    if points and points[-1][0] == step:
        return [*points[:-1], (step, points[-1][1].merged(signals))]
    return [*points, (step, signals)]


def _handle_bad_step(
    trouble: BadStep, state: TrainState, plan: Schedule, sinks: Callback
) -> Stop | None:
    """Tell of a step that went wrong, and do what is to be done then; the reason to stop, where that is it."""
    with sinks.ledger.phase("writing"):
        sinks.on_trouble(trouble)
    if plan.on_nonfinite == "stop":
        return NotFinite(trouble.message)
    with sinks.ledger.phase("checkpoints"):
        reason = sinks.rewind(trouble) if plan.on_nonfinite == "rewind" else None
    if trouble.kind == "spike":
        state.norm_range.add_spike(trouble.step, trouble.rows["grad_norm"][-1])
    return reason


def _dispatch(
    last: tuple[Segment, NextEvent], points: Points, step: int, sinks: Callback
) -> Stop | None:
    """Tell all whom these steps concern; the reason to stop, where an observer gives one."""
    _, due = last
    reached = step == due.step
    if reached and due.views:
        with sinks.ledger.phase("validation"):
            for view in due.views:
                points = _with(points, step, view(step))
    reason = _deliver(points, sinks)
    if reached and due.pictures:
        sinks.draw(step)
    if reached and due.checkpoint:
        with sinks.ledger.phase("checkpoints"):
            sinks.save(step)
    return reason


def _deliver(points: Points, sinks: Callback) -> Stop | None:
    """Every observer sees the signals, also after one has asked to stop."""
    with sinks.ledger.phase("writing"):
        sinks.record(points)
    reason = None
    with sinks.ledger.phase("checkpoints"):
        for step, signals in points:
            for observer in sinks.observers:
                try:
                    observer(step, signals)
                except Stop as stop:
                    reason = reason or stop
    return reason


QUICK_SECONDS, SLOW_SECONDS = (
    0.2,
    0.5,
)  # of one call: progress should be seen, and Ctrl-C heard


class StepsPerCall:
    """Owns the length of calls: one step at first; then what is given, or else twice as many while calls are quick.

    The first call sets up the graph, and it is known how long that took only where it does little else.
    """

    def __init__(self, steps_per_call: int | Literal["auto"]):
        self._given = steps_per_call
        self.steps = 1

    def adapt(self, steps: int, seconds: float) -> None:
        """Take in how long a call of so many steps took."""
        if self._given != "auto":
            self.steps = self._given
        elif seconds > SLOW_SECONDS:
            self.steps = max(self.steps // 2, 1)
        elif seconds < QUICK_SECONDS and steps == self.steps:
            self.steps *= 2
