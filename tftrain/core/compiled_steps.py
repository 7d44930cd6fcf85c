"""The graph's side of training: many steps in one call, and what they tell, packed into few tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.evaluate import metric_results, named_results
from tftrain.core.execution import DEFAULT, LOOP, step_graph, using_executor
from tftrain.core.layer_calls import recording_enabled
from tftrain.core.metric_aggregator import Rows
from tftrain.core.numerics import while_cond
from tftrain.core.packing import TensorPacker
from tftrain.core.remat import rematerialized
from tftrain.core.schedule import MEASURED, NOTHING_DUE, Segment
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step
from tftrain.core.types import Batch, BatchSource, LogData, Probe, Tensor, Tree

_MAKING = "seconds_of_input"  # in the row of a step


class CallResult(NamedTuple):
    """What a call gave: rows for all steps that it came to; metrics and signals for each point, in order.

    `rows` are [steps] for each scalar, [steps, parameters] for each vector. A point that was not measured has no
    signals. `measuring` is the seconds that went into measured steps, `input` those into batches that had to be made.
    """

    rows: Rows
    metrics: list[dict[str, float] | None]
    signals: list[LogData]
    measuring: float
    input: float


class CompiledSteps:
    """The step, compiled once as it is and once with what `probes` measure; both do the same to the weights.

    A call ends early at the first step that is not finite, for the host to judge before another step is taken. What the
    metrics counted is read, and forgotten, at each point; under tf.distribute the host must do that, because there it
    may need all devices.
    """

    def __init__(
        self,
        state: TrainState,
        recipe: StepSpec,
        feed: BatchSource,
        probes: Sequence[Probe] = (),
        *,
        executor: str = DEFAULT,
        jit_compile: bool = False,
    ):
        self.probes = tuple(probes)
        self.executor = executor
        self.each_point = tf.distribute.has_strategy() and bool(
            recipe.metrics
        )  # a call has to end at each
        self._metrics = () if self.each_point else tuple(recipe.metrics)
        self._feed = feed
        self._quiet, self._measured = (
            make_step(state, recipe),
            make_step(state, recipe, self.probes),
        )
        self.compiled: tuple = ()  # by XLA
        if jit_compile:
            compiled = partial(tf.function, jit_compile=True, autograph=False)
            self._quiet, self._measured = (
                compiled(self._quiet),
                compiled(self._measured),
            )
            self.compiled = (
                (self._quiet, self._measured) if self.probes else (self._quiet,)
            )
        self._row, self._scores, self._look = (
            TensorPacker(),
            TensorPacker(),
            TensorPacker(),
        )
        numbers = tf.TensorSpec([None], tf.int32)
        self.call = tf.function(
            self._run, [feed.signature, numbers, numbers], autograph=False
        )
        with (
            recording_enabled(state.model),
            rematerialized(recipe.blocks),
            using_executor(executor),
        ):
            self.call.get_concrete_function()

    def graph(self) -> Any:
        """The GraphDef of the plain step: model, loss, gradients, optimizer, without what measures and repeats."""
        return step_graph(self._traced, self._scope)

    def run(self, handle: Any, stretches: Sequence[Segment]) -> CallResult:
        """Run the steps of a handle."""
        ends, kinds = (
            np.array(values, np.int32) for values in zip(*stretches, strict=True)
        )
        with using_executor(self.executor):
            found = self.call(handle, tf.constant(ends), tf.constant(kinds))
        rows, scores, *looks, seconds = [tensor.numpy() for tensor in found]
        rows = self._row.unpacked(rows)
        making = float(rows.pop(_MAKING, np.zeros(1)).sum())
        points = kinds[(ends <= len(rows["finite"])) & (kinds != NOTHING_DUE)]
        return CallResult(
            rows,
            self._named(scores, len(points)),
            self._signals(points, looks),
            float(seconds),
            making,
        )

    def _run(self, handle: Any, ends: Any, kinds: Any) -> tuple:
        def array(dtype: Any) -> tf.TensorArray:
            return tf.TensorArray(
                dtype, 0, dynamic_size=True, infer_shape=False
            )  # until it is traced, who knows

        def stretch(number, index, finite, rows, scores, numbers, texts, seconds):
            end, kind = ends[number], kinds[number]
            quiet_until = (
                end - tf.cast(kind == MEASURED, tf.int32) if self.probes else end
            )
            index, finite, rows = tf.while_loop(
                lambda index, finite, _: finite & (index < quiet_until),
                lambda index, _, rows: self._quiet_step(handle, index, rows),
                (index, finite, rows),
                parallel_iterations=1,
            )
            if self.probes:
                index, finite, rows, numbers, texts, seconds = while_cond(
                    finite & (index < end),
                    lambda index, _, *arrays: self._measured_step(
                        handle, index, *arrays
                    ),
                    *(index, finite, rows, numbers, texts, seconds),
                )
            (scores,) = while_cond(
                (kind != NOTHING_DUE) & (index == end), self._score, scores
            )
            return number + 1, index, finite, rows, scores, numbers, texts, seconds

        zero = tf.constant(0)
        start = (
            zero,
            zero,
            tf.constant(True),
            *map(array, (tf.int32, tf.int32, tf.int32, tf.string)),
        )
        *_, rows, scores, numbers, texts, seconds = tf.while_loop(
            lambda number, _, finite, *__: finite & (number < tf.size(ends)),
            stretch,
            (*start, tf.constant(0.0, tf.float64)),
            parallel_iterations=1,
        )
        packings = (
            self._row.numbers,
            self._scores.numbers,
            self._look.numbers,
            self._look.texts,
        )
        arrays = zip((rows, scores, numbers, texts), packings, strict=True)
        return *(_stacked(array, width) for array, width in arrays), seconds

    def _quiet_step(self, handle: Any, index: Any, rows: Any) -> tuple:
        self._traced = tf.compat.v1.get_default_graph()
        self._scope = self._traced.get_name_scope()
        batch, making = self._batch(handle, index)
        row, _ = replication.run(self._quiet, batch)
        with tf.name_scope(LOOP):
            return (
                index + 1,
                row["finite"] > 0,
                rows.write(index, self._row.packed(row | making)[0]),
            )

    def _measured_step(
        self, handle: Any, index: Any, rows: Any, numbers: Any, texts: Any, seconds: Any
    ) -> tuple:
        batch, making = self._batch(handle, index)
        began = _time_after(batch)
        row, look = replication.run(self._measured, batch)
        found, others = self._look.packed(look)
        seconds += _time_after(found) - began
        rows = rows.write(index, self._row.packed(row | making)[0])
        place = numbers.size()
        return (
            index + 1,
            row["finite"] > 0,
            rows,
            numbers.write(place, found),
            texts.write(place, others),
            seconds,
        )

    def _batch(self, handle: Any, index: Any) -> tuple[Batch, dict[str, Tensor]]:
        """A batch, and as a part of the step's row the seconds that it took, where it had to be made."""
        if self._feed.prepared:
            with tf.name_scope("batch"):
                return self._feed.batch(handle, index), {}
        with tf.name_scope(LOOP):
            began = _time_after(index)
        with tf.name_scope("batch"), tf.control_dependencies([began]):
            batch = self._feed.batch(handle, index)
        with tf.name_scope(LOOP):
            return batch, {_MAKING: tf.cast(_time_after(batch) - began, tf.float32)}

    def _score(self, scores: Any) -> tuple:
        results = metric_results(self._metrics)
        for metric in self._metrics:
            metric.reset_state()
        return (scores.write(scores.size(), self._scores.packed(results)[0]),)

    def _named(self, scores: np.ndarray, points: int) -> list[dict[str, float] | None]:
        if not self._metrics:
            return [None] * points
        names = [metric.name for metric in self._metrics]
        return [
            named_results(names, results)
            for results in zip(*self._scores.unpacked(scores), strict=True)
        ]

    def _signals(self, points: np.ndarray, looks: list[np.ndarray]) -> list[LogData]:
        """What the probes make of each point that was measured."""
        found = iter(self._look.each(*looks) if self.probes else ())
        measured = MEASURED if self.probes else None
        return [
            self._seen(next(found)) if kind == measured else LogData()
            for kind in points
        ]

    def _seen(self, look: list) -> LogData:
        signals = LogData()
        for probe, found in zip(self.probes, look, strict=True):
            signals = signals.merged(probe.read(found))
        return signals


def _time_after(tree: Tree) -> Tensor:
    """The seconds on the clock when all of a tree is there, float64."""
    with tf.control_dependencies(
        [leaf for leaf in tf.nest.flatten(tree) if leaf is not None]
    ):
        return tf.timestamp()


def _stacked(array: tf.TensorArray, width: int) -> Tensor:
    """[elements, width], also where there are no elements."""
    return tf.raw_ops.TensorListStack(
        input_handle=array.flow, element_shape=[width], element_dtype=array.dtype
    )
