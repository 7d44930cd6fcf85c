"""A run as pictures see it: what is asked of a moment is computed then, once, and changes nothing of the run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.state import TrainState
from tftrain.core.types import (
    Batch,
    BatchSource,
    DataSpec,
    GradientMethod,
    Objective,
    Tensor,
    Transform,
)
from tftrain.core.variables import parameter_names, preserve_state, read_values
from tftrain.data.batches import map_leaves, named_leaves
from tftrain.diagnostics.layer_stats import ModelTrace
from tftrain.diagnostics.layer_trace import make_tracer
from tftrain.diagnostics.temporal_gradients import gradients_through_time
from tftrain.reporting.metrics_file import Series

_ROWS = 8192  # that the model is given at once


class PlotContextFactory:
    """Owns the graphs that pictures are made by, and the first training batches, which they are made of.

    To be made before training begins: a stream cannot be asked for other steps in between.

    Args:
        objective: the model and its loss.
        method: computes the gradients.
        transform: changes them, such as a clip.
        state: all variables of the run.
        source: the training batches.
        facts: about the data.
        strategy: a tf.distribute.Strategy, or None.
        batches: how many batches plots can ask for.
    """

    def __init__(
        self,
        objective: Objective,
        method: GradientMethod,
        transform: Transform,
        state: TrainState,
        source: BatchSource,
        facts: DataSpec,
        strategy: Any,
        batches: int = 1,
    ):
        self.objective = objective
        self.state = state
        self.facts = facts
        self._method = method
        self._transform = transform
        self._strategy = strategy
        self._moving: dict[
            tuple[tuple[int, int], ...], Callable[[Tensor], Tensor]
        ] = {}  # by the numbers that move
        self._batches = []
        for step in range(min(batches, source.steps_per_epoch)):
            batch = source.batch(source.serve(step, 1), tf.constant(0))
            self._batches.append(map_leaves(np.asarray, batch))
        self.batch = self._batches[0]

    def at(
        self, step: int, history: Callable[[], dict[str, Series]]
    ) -> RunSnapshot:
        """Return the run as it is now.

        Args:
            step: how many were taken.
            history: returns the curves so far.
        """
        return RunSnapshot(self, step, history)

    def examples(self, max_examples: int) -> Batch:
        """The first training examples, of the batches that are held."""
        parts = [
            [None if part is None else tf.nest.flatten(part) for part in batch]
            for batch in self._batches
        ]
        joined = []
        for first_part, *pieces in zip(self.batch, *parts, strict=True):
            flat = (
                None
                if first_part is None
                else [
                    np.concatenate(leaf)[:max_examples]
                    for leaf in zip(*pieces, strict=True)
                ]
            )
            joined.append(
                None
                if first_part is None
                else tf.nest.pack_sequence_as(first_part, flat)
            )
        return Batch(*joined)

    def predict(self, x: Any) -> np.ndarray:
        """What the model gives, as probabilities where the targets are classes."""
        objective = self.objective
        rows = len(tf.nest.flatten(x)[0])
        with (
            preserve_state(objective.model),
            replication.first_of(objective.model.variables[0].value),
        ):
            pieces = [
                _take_rows(x, slice(at, at + _ROWS))
                for at in range(0, rows, _ROWS)
            ]
            probabilities = [
                objective.probabilities(objective.model(piece, training=False))
                for piece in pieces
            ]
        return np.concatenate(
            [np.asarray(tf.cast(part, tf.float32)) for part in probabilities]
        )

    def gradients(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Of the first batch, as the next step would find them: before the transforms, and after."""
        with self._without_effect():
            computed = self._gradient_function(self._batch_tensors)
        raw, clipped = (list(map(np.asarray, grads)) for grads in computed)
        return raw, clipped

    def loss(self, values: list[np.ndarray]) -> float:
        """Of the first batch, where the parameters have these values."""
        with self._without_effect():
            return float(
                self._loss_function([tf.constant(value) for value in values])
            )

    def losses(
        self, places: tuple[tuple[int, int], ...], values: np.ndarray
    ) -> np.ndarray:
        """Return the losses of the first batch, [points], where some numbers of the parameters have other values.

        A number is named by the index of its parameter and its place there.

        Args:
            places: the index of the parameter and the place in it, of each number.
            values: [points, numbers].
        """
        if places not in self._moving:
            self._moving[places] = self._losses_moving(places)
        with self._without_effect(), np.errstate(over="ignore"):
            return self._moving[places](
                tf.constant(values, keras.config.floatx())
            ).numpy()

    def passed(self) -> ModelTrace:
        """One pass of the first batch."""
        scale = self.state.loss_scale
        with self._without_effect():
            return self._trace_function(
                float(scale.value.numpy()) if scale else 1.0
            )

    def reaching(self) -> dict[str, np.ndarray]:
        """Return the gradients of `diagnostics.temporal_gradients`, of the first batch."""
        with self._without_effect():
            return {
                name: np.asarray(tf.cast(gradient, tf.float32))
                for name, gradient in self._temporal_function().items()
            }

    @contextlib.contextmanager
    def _without_effect(self) -> Iterator[None]:
        """Where the model is called in training mode, on one device, and is as before afterwards."""
        model = self.state.model
        together = [
            layer.name
            for layer in model._flatten_layers()
            if getattr(layer, "synchronized", False)
        ]
        if together and self._strategy.num_replicas_in_sync > 1:
            raise ValueError(
                f"given synchronized batch normalization on several devices ({', '.join(together)}), which a picture "
                "on one device cannot have; expected synchronized: false, or one device"
            )
        with (
            preserve_state(model),
            replication.first_of(model.variables[0].value),
        ):
            yield

    @functools.cached_property
    def _temporal_function(self) -> Callable[[], dict[str, Tensor]]:
        inputs = {
            name: leaf
            for name, leaf in named_leaves(self._batch_tensors).items()
            if name[0] == "x"
        }
        inputs = {
            name: leaf
            for name, leaf in inputs.items()
            if leaf.dtype.is_floating
        }
        return tf.function(
            lambda: gradients_through_time(
                self.objective, self._batch_tensors, inputs
            ),
            autograph=False,
        )

    @functools.cached_property
    def _batch_tensors(self) -> Batch:
        with tf.init_scope():  # whichever graph asks first, they are for all
            return map_leaves(tf.convert_to_tensor, self.batch)

    @functools.cached_property
    def _trace_function(self) -> Callable[[float], ModelTrace]:
        return make_tracer(self.objective, self._batch_tensors)

    @functools.cached_property
    def _loss_function(self) -> Callable[[list[Tensor]], Tensor]:
        def found(values: list[Tensor]) -> Tensor:
            with self.objective.at(values):
                return self.objective(self._batch_tensors)[0]

        return tf.function(found, autograph=False)

    def _losses_moving(
        self, places: tuple[tuple[int, int], ...]
    ) -> Callable[[Tensor], Tensor]:
        objective, batch = self.objective, self._batch_tensors

        def one(values: Tensor) -> Tensor:
            params = [tf.convert_to_tensor(param) for param in objective.params]
            for number, (index, place) in enumerate(places):
                flat = tf.reshape(params[index], [-1])
                moved = tf.tensor_scatter_nd_update(
                    flat, [[place]], [tf.cast(values[number], flat.dtype)]
                )
                params[index] = tf.reshape(moved, params[index].shape)
            with objective.at(params):
                return tf.cast(objective(batch)[0], tf.float64)

        def found(points: Tensor) -> Tensor:
            return tf.map_fn(
                one,
                points,
                fn_output_signature=tf.float64,
                parallel_iterations=1,
            )  # a large one is copied

        return tf.function(found, autograph=False)

    @functools.cached_property
    def _gradient_function(
        self,
    ) -> Callable[[Batch], tuple[list[Tensor], list[Tensor]]]:
        def compute(batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
            params = self.objective.params
            carry = read_values(self.state.carry)
            raw = self._method(self.objective, batch, carry).grads
            transform_state = read_values(self.state.transform)
            clipped, *_ = self._transform.update(raw, transform_state, params)
            raw_tensors = [tf.convert_to_tensor(grad) for grad in raw]
            return raw_tensors, [tf.convert_to_tensor(grad) for grad in clipped]

        return tf.function(compute, autograph=False)


class RunSnapshot:
    """The Scene of one step; see `core.types.Scene`."""

    def __init__(
        self,
        scenes: PlotContextFactory,
        step: int,
        history: Callable[[], dict[str, Series]],
    ):
        self._scenes, self._history = scenes, history
        self.step, self.batch, self.facts = step, scenes.batch, scenes.facts
        self.names = parameter_names(scenes.state.model)
        self.examples, self.predict = scenes.examples, scenes.predict
        self.loss, self.losses = scenes.loss, scenes.losses

    @functools.cached_property
    def params(self) -> list[np.ndarray]:
        """The values of the parameters."""
        arrays = [
            np.array(param.numpy()) for param in self._scenes.objective.params
        ]
        for values in arrays:
            values.flags.writeable = False  # all pictures of a step share them
        return arrays

    @property
    def raw(self) -> list[np.ndarray]:
        """The gradients before the transforms."""
        return self._gradient_function[0]

    @property
    def clipped(self) -> list[np.ndarray]:
        """The gradients after the transforms."""
        return self._gradient_function[1]

    @functools.cached_property
    def passes(self) -> ModelTrace:
        """One forward and one backward pass."""
        return self._scenes.passed()

    @functools.cached_property
    def reaching(self) -> dict[str, np.ndarray]:
        """The gradients with respect to inputs and states over time."""
        return self._scenes.reaching()

    @functools.cached_property
    def history(self) -> dict[str, Series]:
        """The curves so far."""
        return self._history()

    @functools.cached_property
    def _gradient_function(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return self._scenes.gradients()


def _take_rows(x: Any, rows: slice) -> Any:
    return tf.nest.map_structure(
        lambda leaf: tf.convert_to_tensor(leaf[rows]), x
    )
