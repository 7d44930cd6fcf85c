"""The training loop on the host: it calls the compiled steps, and reports what came of them to callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from tftrain.core.bad_steps import StepHistory
from tftrain.core.callback import Callback, CallbackList
from tftrain.core.compiled_steps import CallResult, CompiledSteps
from tftrain.core.metric_aggregator import MetricAggregator, new_aggregator
from tftrain.core.schedule import (
    MEASURED,
    NOTHING_DUE,
    NextEvent,
    Schedule,
    Segment,
)
from tftrain.core.state import TrainState
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import (
    BadStep,
    BatchSource,
    LogData,
    NotFinite,
    Points,
    Stop,
)
from tftrain.core.variables import parameter_names

# Seconds of one call: progress should be seen, and Ctrl-C answered.
QUICK_SECONDS = 0.2
SLOW_SECONDS = 0.5

Call = list[
    tuple[Segment, NextEvent]
]  # the segments of a call, each with what is due


def train(
    compiled_steps: CompiledSteps,
    state: TrainState,
    source: BatchSource,
    schedule: Schedule,
    callbacks: Sequence[Callback] = (),
    *,
    aggregator: MetricAggregator | None = None,
    timer: PhaseTimer | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Stop | None:
    """Train from the state's step to the schedule's last.

    Args:
        compiled_steps: the graph of the step.
        state: all variables of the run; `state.step` is where it begins.
        source: the training batches.
        schedule: when points, validation, plots and checkpoints are due.
        callbacks: see `Callback` for when each method is called.
        aggregator: one that may hold steps of an earlier session.
        timer: takes the seconds by phase.
        clock: measures how long a call takes, in seconds.

    Returns:
        Why the run ended before its last step; None where it did not.
    """
    timer = timer or PhaseTimer()
    aggregator = aggregator or new_aggregator(state, source.steps_per_epoch)
    callbacks = CallbackList(callbacks, timer)
    needs_each_point = callbacks.needs_each_point or compiled_steps.each_point
    steps_per_call = StepsPerCall(schedule.steps_per_call)
    history = StepHistory(parameter_names(state.model), state.norm_range)
    compiled_kinds: set[StepKind] = set()
    step = int(state.step.numpy())
    callbacks.on_train_begin(step)
    while step < schedule.total_steps:
        limit = min(
            source.run_length(step),
            steps_per_call.steps,
            state.norm_range.look(step),
        )
        call = schedule.call_after(step, limit, needs_each_point)
        start = clock()
        result = _run_call(
            compiled_steps, source, call, step, compiled_kinds, timer
        )
        seconds = clock() - start
        rows = result.rows
        steps_per_call.adapt(len(rows["finite"]), seconds)
        step += len(rows["finite"])
        callbacks.on_call_end(
            step, {name: values[-1] for name, values in rows.items()}
        )
        with timer.phase("writing"):
            points = _aggregate_points(call, result, aggregator, step, seconds)
        history.add(rows)
        bad_step = history.check_last_step(step)
        if bad_step is not None:
            reason = _handle_bad_step(bad_step, state, schedule, callbacks)
            if reason is not None:
                if not points or points[-1][0] != step:
                    points.append((step, aggregator.flush(step)))
                callbacks.on_points(points)
                return _end_training(step, reason, callbacks)
        reason = _report_call(call, points, step, callbacks, timer)
        if reason is not None:
            return _end_training(step, reason, callbacks)
    return _end_training(step, None, callbacks)


def _end_training(
    step: int, reason: Stop | None, callbacks: CallbackList
) -> Stop | None:
    callbacks.on_train_end(step, reason)
    return reason


# Whether the batch is the last of an epoch, which may be short, and whether the step is measured.
StepKind = tuple[bool, bool]


def _run_call(
    compiled_steps: CompiledSteps,
    source: BatchSource,
    call: Call,
    step: int,
    compiled_kinds: set[StepKind],
    timer: PhaseTimer,
) -> CallResult:
    """Run the steps of a call, and count its seconds as input, compilation, plain and measured steps."""
    kinds = _step_kinds(compiled_steps, source, call, step)
    phase = "step" if kinds <= compiled_kinds else "compiling"
    compiled_kinds |= kinds
    with timer.phase("input"):
        handle = source.serve(step, call[-1][0].end)
    with timer.phase(phase):
        result = compiled_steps.run(handle, [segment for segment, _ in call])
    timer.split(phase, "input", result.input)
    if phase == "step":
        steps = len(result.rows["finite"])
        measured = sum(
            segment.kind == MEASURED and segment.end <= steps
            for segment, _ in call
        )
        timer.count(steps - measured, measured)
        timer.split("step", "measuring", result.measuring)
    return result


def _step_kinds(
    compiled_steps: CompiledSteps, source: BatchSource, call: Call, step: int
) -> set[StepKind]:
    """Return the kinds of steps in a call: XLA compiles each when it first occurs, for each size of batch."""
    if not compiled_steps.compiled:
        return {(False, False)}
    kinds = set()
    begin = step
    for segment, _ in call:
        end = step + segment.end
        is_measured = segment.kind == MEASURED
        for number in range(begin + 1, end + 1 - is_measured):
            kinds.add((number % source.steps_per_epoch == 0, False))
        if is_measured:
            kinds.add((end % source.steps_per_epoch == 0, True))
        begin = end
    return kinds


def _aggregate_points(
    call: Call,
    result: CallResult,
    aggregator: MetricAggregator,
    last_step: int,
    seconds: float,
) -> Points:
    """Return the points of a call that ended at `last_step`, with what the probes measured there."""
    taken = len(result.rows["finite"])
    steps = [
        event.step
        for segment, event in call
        if segment.kind != NOTHING_DUE and segment.end <= taken
    ]
    points = aggregator.aggregate(
        result.rows, seconds, steps, last_step, result.metrics
    )
    return [
        (step, point.merged(probed))
        for (step, point), probed in zip(points, result.signals, strict=True)
    ]


def _handle_bad_step(
    bad_step: BadStep,
    state: TrainState,
    schedule: Schedule,
    callbacks: CallbackList,
) -> Stop | None:
    """Report a bad step, and return the reason to end the run where there is one."""
    reason = callbacks.on_bad_step(bad_step)
    if schedule.on_bad_step == "stop":
        return NotFinite(bad_step.message)
    if bad_step.kind == "spike":
        state.norm_range.add_spike(
            bad_step.step, bad_step.rows["grad_norm"][-1]
        )
    return reason


def _report_call(
    call: Call,
    points: Points,
    step: int,
    callbacks: CallbackList,
    timer: PhaseTimer,
) -> Stop | None:
    """Validate, log, plot and save what is due after a call; return the reason to end the run where there is one."""
    _, event = call[-1]
    is_due = step == event.step
    if is_due and event.views:
        with timer.phase("validation"):
            for view in event.views:
                points = _merge_point(points, step, view(step))
    reason = callbacks.on_points(points)
    if is_due and event.pictures:
        callbacks.on_plot(step)
    if is_due and event.checkpoint:
        callbacks.on_checkpoint(step)
    return reason or callbacks.should_stop()


def _merge_point(points: Points, step: int, data: LogData) -> Points:
    """Return the points with more data at a step, which is that of the last one or a later one."""
    if points and points[-1][0] == step:
        _, last = points[-1]
        return [*points[:-1], (step, last.merged(data))]
    return [*points, (step, data)]


class StepsPerCall:
    """How many steps the next call may have: one at first, then as configured.

    With "auto" the number doubles while calls are quick, and halves when they are slow. The first call runs one step,
    so that its time is compilation time.

    Args:
        setting: `training.steps_per_call`.
    """

    def __init__(self, setting: int | Literal["auto"]):
        self._setting = setting
        self.steps = 1

    def adapt(self, steps: int, seconds: float) -> None:
        """Choose the length of the next call.

        Args:
            steps: how many the last call had.
            seconds: how long it took.
        """
        if self._setting != "auto":
            self.steps = self._setting
        elif seconds > SLOW_SECONDS:
            self.steps = max(self.steps // 2, 1)
        elif seconds < QUICK_SECONDS and steps == self.steps:
            self.steps *= 2
