"""The compiled steps: many in one call of a graph, with their numbers packed into few tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.evaluate import metric_results, named_results
from tftrain.core.execution import DEFAULT, LOOP, step_graph, using_executor
from tftrain.core.layer_calls import recording_enabled
from tftrain.core.numerics import while_cond
from tftrain.core.packing import TensorPacker
from tftrain.core.remat import rematerialized
from tftrain.core.schedule import MEASURED, NOTHING_DUE, Segment
from tftrain.core.state import TrainState
from tftrain.core.step import Step, StepSpec, make_step
from tftrain.core.types import (
    Batch,
    BatchSource,
    LogData,
    Probe,
    Rows,
    Tensor,
    Tree,
)

_INPUT_SECONDS = "seconds_of_input"  # in the row of a step


class CallResult(NamedTuple):
    """What a call of the compiled steps gave.

    Args:
        rows: the numbers of all steps taken: [steps] for each scalar, [steps, parameters] for each vector.
        metrics: the values at each point, in order; None where the host must ask the metrics.
        signals: what the probes measured at each point; empty for a point that was not measured.
        measuring: the seconds that measured steps took.
        input: the seconds that making batches took.
    """

    rows: Rows
    metrics: list[dict[str, float] | None]
    signals: list[LogData]
    measuring: float
    input: float


class CompiledSteps:
    """The step, compiled once as it is and once with probes; both do the same to the weights.

    A call ends early at the first step that is not finite, for the host to judge before another step is taken. The
    metrics are read and reset at each point; under tf.distribute the host must do that, because there it may need all
    devices.

    Args:
        state: all variables of the run.
        step_spec: what the step is made of.
        feed: the training batches.
        probes: what is measured at some steps.
        executor: which of TensorFlow's executors runs the graph; see `choose_executor`.
        jit_compile: whether XLA compiles the steps.
    """

    def __init__(
        self,
        state: TrainState,
        step_spec: StepSpec,
        feed: BatchSource,
        probes: Sequence[Probe] = (),
        *,
        executor: str = DEFAULT,
        jit_compile: bool = False,
    ):
        self.probes = tuple(probes)
        self.executor = executor
        # Whether a call has to end at each point.
        self.each_point = tf.distribute.has_strategy() and bool(
            step_spec.metrics
        )
        self._metrics = () if self.each_point else tuple(step_spec.metrics)
        self._feed = feed
        self._plain = make_step(state, step_spec)
        self._measured = make_step(state, step_spec, self.probes)
        self.compiled: tuple = ()  # by XLA
        if jit_compile:
            self._plain = _compile_with_xla(self._plain)
            self._measured = _compile_with_xla(self._measured)
            self.compiled = (self._plain,)
            if self.probes:
                self.compiled = (self._plain, self._measured)
        self._row_packer = TensorPacker()
        self._metric_packer = TensorPacker()
        self._probe_packer = TensorPacker()
        numbers = tf.TensorSpec([None], tf.int32)
        self.call = tf.function(
            self._run_segments,
            [feed.signature, numbers, numbers],
            autograph=False,
        )
        with (
            recording_enabled(state.model),
            rematerialized(step_spec.blocks),
            using_executor(executor),
        ):
            self.call.get_concrete_function()

    def graph(self) -> Any:
        """Return the GraphDef of the plain step: model, loss, gradients and optimizer, without loops and probes."""
        return step_graph(self._traced_graph, self._step_scope)

    def run(self, handle: Any, segments: Sequence[Segment]) -> CallResult:
        """Run the steps of a handle.

        Args:
            handle: that of the batch source, for as many steps.
            segments: where the steps end at which there are points, and of which kind.
        """
        ends = np.array([segment.end for segment in segments], np.int32)
        kinds = np.array([segment.kind for segment in segments], np.int32)
        with using_executor(self.executor):
            tensors = self.call(handle, tf.constant(ends), tf.constant(kinds))
        packed_rows, packed_metrics, *packed_probes, seconds = [
            tensor.numpy() for tensor in tensors
        ]
        rows = self._row_packer.unpacked(packed_rows)
        input_seconds = float(rows.pop(_INPUT_SECONDS, np.zeros(1)).sum())
        is_reached = ends <= len(rows["finite"])
        points = kinds[is_reached & (kinds != NOTHING_DUE)]
        return CallResult(
            rows,
            self._unpack_metrics(packed_metrics, len(points)),
            self._read_probes(points, packed_probes),
            float(seconds),
            input_seconds,
        )

    def _run_segments(self, handle: Any, ends: Any, kinds: Any) -> tuple:
        """Run all segments of a call in the graph, until a step is not finite."""

        def run_segment(
            number, index, finite, rows, metrics, numbers, texts, seconds
        ):
            end = ends[number]
            kind = kinds[number]
            plain_until = end
            if self.probes:
                plain_until -= tf.cast(kind == MEASURED, tf.int32)
            index, finite, rows = tf.while_loop(
                lambda index, finite, _: finite & (index < plain_until),
                lambda index, _, rows: self._run_plain_step(
                    handle, index, rows
                ),
                (index, finite, rows),
                parallel_iterations=1,
            )
            if self.probes:
                index, finite, rows, numbers, texts, seconds = while_cond(
                    finite & (index < end),
                    lambda index, _, *arrays: self._run_measured_step(
                        handle, index, *arrays
                    ),
                    *(index, finite, rows, numbers, texts, seconds),
                )
            is_point = (kind != NOTHING_DUE) & (index == end)
            (metrics,) = while_cond(is_point, self._write_metrics, metrics)
            return (
                number + 1,
                index,
                finite,
                rows,
                metrics,
                numbers,
                texts,
                seconds,
            )

        zero = tf.constant(0)
        *_, rows, metrics, numbers, texts, seconds = tf.while_loop(
            lambda number, _, finite, *__: finite & (number < tf.size(ends)),
            run_segment,
            (
                zero,
                zero,
                tf.constant(True),
                _make_array(tf.int32),
                _make_array(tf.int32),
                _make_array(tf.int32),
                _make_array(tf.string),
                tf.constant(0.0, tf.float64),
            ),
            parallel_iterations=1,
        )
        return (
            _stack_array(rows, self._row_packer.numbers),
            _stack_array(metrics, self._metric_packer.numbers),
            _stack_array(numbers, self._probe_packer.numbers),
            _stack_array(texts, self._probe_packer.texts),
            seconds,
        )

    def _run_plain_step(self, handle: Any, index: Any, rows: Any) -> tuple:
        self._traced_graph = tf.compat.v1.get_default_graph()
        self._step_scope = self._traced_graph.get_name_scope()
        batch, input_seconds = self._make_batch(handle, index)
        row, _ = replication.run(self._plain, batch)
        with tf.name_scope(LOOP):
            packed, _ = self._row_packer.packed(row | input_seconds)
            return index + 1, row["finite"] > 0, rows.write(index, packed)

    def _run_measured_step(
        self,
        handle: Any,
        index: Any,
        rows: Any,
        numbers: Any,
        texts: Any,
        seconds: Any,
    ) -> tuple:
        batch, input_seconds = self._make_batch(handle, index)
        start = _time_after(batch)
        row, measured = replication.run(self._measured, batch)
        packed_numbers, packed_texts = self._probe_packer.packed(measured)
        seconds += _time_after(packed_numbers) - start
        packed_row, _ = self._row_packer.packed(row | input_seconds)
        rows = rows.write(index, packed_row)
        position = numbers.size()
        return (
            index + 1,
            row["finite"] > 0,
            rows,
            numbers.write(position, packed_numbers),
            texts.write(position, packed_texts),
            seconds,
        )

    def _make_batch(
        self, handle: Any, index: Any
    ) -> tuple[Batch, dict[str, Tensor]]:
        """Return a batch, and as a part of the step's row the seconds that it took, where it had to be made."""
        if self._feed.prepared:
            with tf.name_scope("batch"):
                return self._feed.batch(handle, index), {}
        with tf.name_scope(LOOP):
            start = _time_after(index)
        with tf.name_scope("batch"), tf.control_dependencies([start]):
            batch = self._feed.batch(handle, index)
        with tf.name_scope(LOOP):
            seconds = tf.cast(_time_after(batch) - start, tf.float32)
            return batch, {_INPUT_SECONDS: seconds}

    def _write_metrics(self, metrics: Any) -> tuple:
        results = metric_results(self._metrics)
        for metric in self._metrics:
            metric.reset_state()
        packed, _ = self._metric_packer.packed(results)
        return (metrics.write(metrics.size(), packed),)

    def _unpack_metrics(
        self, packed: np.ndarray, points: int
    ) -> list[dict[str, float] | None]:
        if not self._metrics:
            return [None] * points
        names = [metric.name for metric in self._metrics]
        values = zip(*self._metric_packer.unpacked(packed), strict=True)
        return [named_results(names, results) for results in values]

    def _read_probes(
        self, points: np.ndarray, packed: list[np.ndarray]
    ) -> list[LogData]:
        """Return what the probes make of each point; empty for one that was not measured."""
        if not self.probes:
            return [LogData()] * len(points)
        measurements = iter(self._probe_packer.each(*packed))
        return [
            self._read_point(next(measurements))
            if kind == MEASURED
            else LogData()
            for kind in points
        ]

    def _read_point(self, measurements: list) -> LogData:
        data = LogData()
        for probe, measured in zip(self.probes, measurements, strict=True):
            data = data.merged(probe.read(measured))
        return data


def _compile_with_xla(step: Step) -> Any:
    return tf.function(step, jit_compile=True, autograph=False)


def _make_array(dtype: Any) -> tf.TensorArray:
    # The shape is not known until the step is traced.
    return tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False)


def _time_after(tree: Tree) -> Tensor:
    """Return the time when all of a tree is computed, in seconds, float64."""
    leaves = [leaf for leaf in tf.nest.flatten(tree) if leaf is not None]
    with tf.control_dependencies(leaves):
        return tf.timestamp()


def _stack_array(array: tf.TensorArray, width: int) -> Tensor:
    """Return an array as [elements, width], also where there are no elements."""
    return tf.raw_ops.TensorListStack(
        input_handle=array.flow,
        element_shape=[width],
        element_dtype=array.dtype,
    )
