"""The host's side of training: which steps to run in one call, and whom to tell about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core import replicas
from tftrain.core.activations import telling
from tftrain.core.depth import hidden_ends
from tftrain.core.parameters import parameter_names
from tftrain.core.skips import overflowed
from tftrain.core.state import TrainState
from tftrain.core.step import Recipe, Row, make_step
from tftrain.core.types import Feed, NotFinite, Observer, Probe, Signals, Stop, Tensor, View
from tftrain.core.window import Rows, Window

Cadence = Callable[[int], int]  # the next step, after this one, at which something is wanted; the first step is 1

_QUICK_SECONDS, _SLOW_SECONDS = 0.2, 0.5  # of one call: progress should be seen, and Ctrl-C heard
_NAMES_SHOWN = 5


def every(steps: int) -> Cadence:
    """At each multiple of `steps`."""
    return lambda step: (step // steps + 1) * steps


def doubling_then_every(steps: int) -> Cadence:
    """At 1, 2, 4, 8, ... while these lie closer than `steps`, then at each multiple of `steps`."""

    def next_after(step: int) -> int:
        power = 2 ** step.bit_length()
        return power if power // 2 < steps else every(steps)(step)

    return next_after


class Programs(NamedTuple):
    """The step, compiled twice; both do the same to the weights, bit for bit.

    `quiet(handle, count)` runs `count` steps, or up to the first that is not finite, and gives rows: [steps] for each
    scalar, [steps, parameters] for each vector. `measured(handle)` runs one step, and gives its row and what each of
    `probes` measured.
    """

    quiet: Any
    measured: Any
    probes: tuple[Probe, ...]


def compile_programs(state: TrainState, recipe: Recipe, feed: Feed, probes: Sequence[Probe] = ()) -> Programs:
    """Compile the step for a feed.

    They are traced at once: errors in the model come before the first batch, and metrics that make their variables on
    first use have them before a checkpoint is read.
    """
    quiet_step, measured_step = make_step(state, recipe), make_step(state, recipe, probes)

    @tf.function(input_signature=[feed.signature, tf.TensorSpec([], tf.int32)])
    def quiet(handle, count):
        layout: Row = {}

        def body(index, finite, packed):
            row, _ = replicas.run(quiet_step, feed.batch(handle, index))
            layout.update(row)
            numbers = tf.concat([tf.reshape(value, [-1]) for value in row.values()], 0)
            return index + 1, row["finite"] > 0, packed.write(index, numbers)

        # What was not finite is for the host to judge before another step is taken.
        packed = tf.TensorArray(tf.float32, 0, dynamic_size=True)
        start = (0, tf.constant(True), packed)
        _, _, packed = tf.while_loop(
            lambda index, finite, _: finite & (index < count), body, start, parallel_iterations=1
        )
        return _unpack(packed.stack(), layout)

    @tf.function(input_signature=[feed.signature])
    def measured(handle):
        return replicas.run(measured_step, feed.batch(handle, tf.constant(0)))

    quiet.get_concrete_function()
    if probes:
        with telling(state.model):
            measured.get_concrete_function()
    return Programs(quiet, measured, tuple(probes))


def _unpack(packed: Tensor, layout: Row) -> Row:
    sizes = [value.shape.num_elements() for value in layout.values()]
    columns = tf.split(tf.ensure_shape(packed, [None, sum(sizes)]), sizes, axis=1)
    return {
        name: column if value.shape.rank else tf.squeeze(column, 1)
        for (name, value), column in zip(layout.items(), columns, strict=True)
    }


class Due(NamedTuple):
    """The next step at which something is wanted, and what."""

    step: int
    scalars: bool
    histograms: bool
    views: tuple[View, ...]
    checkpoint: bool


@dataclass(frozen=True)
class Plan:
    """How long to train, and what is wanted when; None is never. The last step is due for all but checkpoints.

    `scalars` is when there is a point of every curve at the latest: histograms and views have theirs beside them.
    """

    total_steps: int
    scalars: Cadence
    histograms: Cadence | None = None
    views: tuple[tuple[Cadence, View], ...] = ()
    checkpoints: Cadence | None = None
    steps_per_call: int | Literal["auto"] = "auto"
    on_nonfinite: Literal["stop", "skip"] = "stop"

    def due_after(self, step: int) -> Due:
        def following(cadence: Cadence | None) -> int:
            return min(cadence(step), self.total_steps) if cadence else self.total_steps + 1

        scalars, histograms = following(self.scalars), following(self.histograms)
        views = [(following(cadence), view) for cadence, view in self.views]
        checkpoint = self.checkpoints(step) if self.checkpoints else self.total_steps + 1
        due = min(scalars, histograms, checkpoint, *(wanted for wanted, _ in views))
        shown = tuple(view for wanted, view in views if wanted == due)
        return Due(due, scalars == due, histograms == due, shown, checkpoint == due)


@dataclass(frozen=True)
class Sinks:
    """Who is told: observers at due steps, `on_call(step, last row)` after each call, `save(step)` for checkpoints."""

    observers: Sequence[Observer] = ()
    on_call: Callable[[int, Rows], None] = lambda step, row: None
    save: Callable[[int], None] = lambda step: None


class _Pace:
    """How many steps to run in one call."""

    def __init__(self, steps_per_call: int | Literal["auto"]):
        self._fixed = steps_per_call != "auto"
        self.steps = steps_per_call if self._fixed else 1

    def adapt(self, steps: int, seconds: float) -> None:
        if self._fixed:
            return
        if seconds > _SLOW_SECONDS:
            self.steps = max(self.steps // 2, 1)
        elif seconds < _QUICK_SECONDS and steps == self.steps:
            self.steps *= 2


def train(
    programs: Programs,
    state: TrainState,
    feed: Feed,
    plan: Plan,
    sinks: Sinks,
    clock: Callable[[], float] = time.perf_counter,
) -> Stop | None:
    """Train from the state's step to the plan's last; what ended it early, where something did."""
    names = parameter_names(state.model)
    ends = hidden_ends(names, state.model.trainable_variables)
    window = Window(names, state.metrics, feed.steps_per_epoch, ends)
    pace = _Pace(plan.steps_per_call)
    step = int(state.step.numpy())
    while step < plan.total_steps:
        due = plan.due_after(step)
        quiet_until = due.step - 1 if due.histograms else due.step
        measuring = step == quiet_until
        count = 1 if measuring else min(quiet_until - step, feed.run_length(step), pace.steps)
        began = clock()
        handle = feed.serve(step, count)
        rows, signals = _run_measured(programs, handle) if measuring else _run_quiet(programs, handle, count)
        seconds = clock() - began
        done = len(rows["finite"])
        pace.adapt(done, seconds)
        window.add(rows, seconds)
        step += done
        sinks.on_call(step, {name: values[-1] for name, values in rows.items()})
        trouble = _trouble(rows, step, names) if plan.on_nonfinite == "stop" else None
        if trouble is not None:
            _deliver(step, window.fold(step).merged(signals), sinks.observers)
            return trouble
        reason = _report(due, window, signals, sinks) if step == due.step else None
        if reason is not None:
            return reason
    return None


def _run_quiet(programs: Programs, handle: Any, count: int) -> tuple[Rows, Signals]:
    return {name: values.numpy() for name, values in programs.quiet(handle, count).items()}, Signals()


def _run_measured(programs: Programs, handle: Any) -> tuple[Rows, Signals]:
    row, measured = tf.nest.map_structure(lambda tensor: tensor.numpy(), programs.measured(handle))
    signals = Signals()
    for probe, found in zip(programs.probes, measured, strict=True):
        signals = signals.merged(probe.read(found))
    return {name: np.asarray(value)[None] for name, value in row.items()}, signals


def _trouble(rows: Rows, last_step: int, names: Sequence[str]) -> NotFinite | None:
    """What was wrong at the first step that was not finite."""
    # An overflow in half precision is no trouble: the loss scale halves, until there is nothing left to halve.
    bad = np.flatnonzero((rows["finite"] == 0) & ~overflowed(rows))
    if not bad.size:
        return None
    first = int(bad[0])
    step = last_step - len(rows["finite"]) + first + 1
    wrong = [name for name, norm in zip(names, rows["grad_norms"][first], strict=True) if not np.isfinite(norm)]
    shown = wrong[:_NAMES_SHOWN] + ([f"{len(wrong) - _NAMES_SHOWN} more"] if len(wrong) > _NAMES_SHOWN else [])
    where = f", gradients not finite in {', '.join(shown)}" if wrong else ""
    what = f"the loss or a gradient was not finite at step {step}; that update was not applied"
    return NotFinite(f"{what} (loss {rows['loss'][first]:g}{where})")


def _report(due: Due, window: Window, signals: Signals, sinks: Sinks) -> Stop | None:
    """Tell all whom this step concerns; the reason to stop, where an observer gives one."""
    reason = None
    if due.scalars or due.histograms or due.views:
        signals = window.fold(due.step).merged(signals)  # whatever is shown at a step, its scalars are shown beside it
        for view in due.views:
            signals = signals.merged(view(due.step))
        reason = _deliver(due.step, signals, sinks.observers)
    if due.checkpoint:
        sinks.save(due.step)
    return reason


def _deliver(step: int, signals: Signals, observers: Sequence[Observer]) -> Stop | None:
    """Every observer sees the signals, also after one has asked to stop."""
    reason = None
    for observer in observers:
        try:
            observer(step, signals)
        except Stop as stop:
            reason = reason or stop
    return reason
