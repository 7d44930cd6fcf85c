"""One forward and one backward pass through a model, with all that comes and goes between its layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.layer_calls import LayerNames, activation_of
from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.numerics import Gradient, stored_values, sum_duplicate_rows
from tftrain.core.scaled_objective import ScaledObjective
from tftrain.core.types import Batch, Objective, Tensor, Tree
from tftrain.core.variables import parameter_names, preserve_state
from tftrain.diagnostics.layer_stats import LayerTrace, ModelTrace

_BY_INPUT = (
    keras.layers.ReLU,
    keras.layers.PReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)


class _Call(NamedTuple):
    layer: Any
    function: str | None  # the activation, where it was called
    z: Tensor | None
    outputs: list[Tensor]


def passes(
    objective: Objective, batch: Batch, scale: float = 1.0, carry: Tree = ()
) -> ModelTrace:
    """Run one forward and one backward pass of a batch; see `make_tracer`.

    Args:
        objective: the model and its loss.
        batch: the examples.
        scale: of the loss.
        carry: the variables of a Carry, where the batch is a window of sequences.
    """
    return make_tracer(objective, batch, carry)(scale)


def make_tracer(
    objective: Objective, batch: Batch, carry: Tree = ()
) -> Callable[[float], ModelTrace]:
    """Return a function that trains on a batch without an update, and records each layer; no variable keeps a change.

    With a loss `scale` the backward pass is that of `scale` times the loss, and is divided by it afterwards. What runs
    in a loop inside the graph, such as a cell within a recurrent layer, cannot be seen from outside.

    Args:
        objective: the model and its loss.
        batch: the examples.
        carry: the variables of a Carry, where the batch is a window of sequences.

    Returns:
        A function of the scale of the loss, by which the gradients are divided afterwards.
    """
    model = objective.model
    batch = _as_tensors(batch)
    # What is known of each call when the graph is built; set by the trace of `run_passes`.
    heads = []

    @functools.partial(tf.function, autograph=False)
    def run_passes(batch: Batch, scale: Tensor) -> tuple:
        inputs = [
            leaf for leaf in tf.nest.flatten(batch.x) if leaf.dtype.is_floating
        ]
        states = _first_rows(carry, batch)
        with record_calls(model) as calls, tf.GradientTape() as tape:
            tape.watch(inputs)
            loss, _, _ = ScaledObjective(objective, scale)(batch, states)
        rows = _call_rows(model, calls)
        heads[:] = [row[:3] for row in rows]
        outputs = [row[3:] for row in rows]
        points = [(a if z is None else [z], a) for z, a in outputs]
        sources = [objective.params, points, inputs]
        grads, terms, input_grads = tape.gradient(loss, sources)
        grads = [_unique_rows(grad) for grad in grads]
        return loss, outputs, terms, grads, input_grads

    def trace(scale: float = 1.0) -> ModelTrace:
        with (
            preserve_state(model),
            replication.first_of(model.variables[0].value),
        ):
            passes = run_passes(batch, tf.constant(scale))
        loss, outputs, terms, grads, input_grads = passes
        layers = []
        for head, (z, a), (delta, arrived) in zip(
            heads, outputs, terms, strict=True
        ):
            delta = _unscale(_join_outputs(delta), scale)
            arrived = _unscale(_join_outputs(arrived), scale)
            layers.append(
                _make_layer(head, z, _join_outputs(a), delta, arrived)
            )
        return ModelTrace(
            float(loss) / scale,
            layers,
            parameter_names(model),
            [_to_array(param) for param in objective.params],
            [_to_unscaled_array(grad, scale) for grad in grads],
            [
                _to_unscaled_array(grad, scale)
                for grad in input_grads
                if grad is not None
            ],
        )

    return trace


def _to_unscaled_array(grad: Tensor | None, scale: float) -> np.ndarray | None:
    return _unscale(None if grad is None else _to_array(grad), scale)


def _first_rows(carry: Tree, batch: Batch) -> Tree:
    examples = tf.nest.flatten(batch.x)[0].shape[0]
    return tf.nest.map_structure(
        lambda variable: variable.read_value()[:examples], carry
    )


@contextmanager
def record_calls(model: Any) -> Iterator[list[_Call]]:
    """The calls of the model's layers in the present graph, in order, while it lasts."""
    graph, calls, inputs = tf.compat.v1.get_default_graph(), [], {}

    def recording_call(layer: Any) -> Callable:
        call = layer.call

        @functools.wraps(call)
        def record_call(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            leaves = [
                leaf
                for leaf in tf.nest.flatten(outputs)
                if _is_seen(leaf, graph)
            ]
            function, z = inputs.pop(
                id(layer),
                (
                    None,
                    args[0] if isinstance(layer, _BY_INPUT) and args else None,
                ),
            )
            if leaves:
                calls.append(_Call(layer, function, z, leaves))
            return outputs

        return record_call

    def recording_activation(layer: Any) -> Callable:
        function = layer.activation

        @functools.wraps(function)
        def record_activation(z: Any, *args: Any, **kwargs: Any) -> Any:
            if _is_seen(z, graph):
                inputs[id(layer)] = getattr(function, "__name__", "custom"), z
            return function(z, *args, **kwargs)

        return record_activation

    layers = all_layers(model)
    inner_ids = {
        id(inner)
        for layer in layers
        if isinstance(layer, keras.layers.RNN)
        for inner in all_layers(layer)[1:]
    }
    layers = [layer for layer in layers if id(layer) not in inner_ids]
    holding = [
        layer for layer in layers if _is_function(vars(layer).get("activation"))
    ]
    with (
        patched_attribute(layers, recording_call),
        patched_attribute(holding, recording_activation, "activation"),
    ):
        yield calls


def _is_function(activation: Any) -> bool:
    return callable(activation) and not isinstance(
        activation, keras.layers.Layer
    )


def _is_seen(tensor: Any, graph: Any) -> bool:
    return (
        isinstance(tensor, tf.Tensor)
        and getattr(tensor, "graph", None) is graph
        and tensor.dtype.is_floating
    )


def _call_rows(model: Any, calls: list[_Call]) -> list[tuple]:
    """Name, kind, function, z and the outputs of each call; a container gives the tensor of its last layer again."""
    labels, seen, depth, rows, times = LayerNames(model), set(), 0, [], {}
    every = {output.name for call in calls for output in call.outputs}
    for layer, function, z, outputs in calls:
        depth = labels.depth(layer, depth)
        if all(output.name in seen for output in outputs):
            continue
        seen.update(output.name for output in outputs)
        name = labels.label(layer, depth)
        times[name] = times.get(name, 0) + 1
        called = name if times[name] == 1 else f"{name} (call {times[name]})"
        active = (
            activation_of(layer, outputs[0], every)
            if len(outputs) == 1
            else None
        )
        if (
            active is not None and active.values is not outputs[0]
        ):  # a function that the model calls behind the layer
            z, outputs = outputs[0], [active.values]
            seen.add(active.values.name)
        function = active.function if active is not None else function
        rows.append(
            (
                called,
                type(layer).__name__,
                None if function == "linear" else function,
                z,
                outputs,
            )
        )
    return rows


def _make_layer(
    head: tuple, z: Tensor | None, a: np.ndarray, *terms: np.ndarray | None
) -> LayerTrace:
    *_, function = head
    z = None if z is None else _to_array(z)
    return LayerTrace(
        *head, a if function is None and z is not None else z, a, *terms
    )


def _as_tensors(batch: Batch) -> Batch:
    return Batch(
        *(
            part
            if part is None
            else tf.nest.map_structure(tf.convert_to_tensor, part)
            for part in batch
        )
    )


def _unique_rows(grad: Gradient | None) -> Tensor | None:
    return (
        stored_values(sum_duplicate_rows(grad))
        if isinstance(grad, tf.IndexedSlices)
        else grad
    )


def _join_outputs(leaves: list[Tensor | None]) -> np.ndarray | None:
    arrays = [_to_array(leaf) for leaf in leaves if leaf is not None]
    if len(arrays) < 2:
        return arrays[0] if arrays else None
    return np.concatenate([array.ravel() for array in arrays])


def _to_array(tensor: Tensor) -> np.ndarray:
    """As an array; half precision as float32."""
    return (
        tf.cast(tensor, tf.float32).numpy()
        if tensor.dtype.size < 4
        else tensor.numpy()
    )


def _unscale(array: np.ndarray | None, scale: float) -> np.ndarray | None:
    return (
        array
        if array is None or scale == 1
        else array / np.asarray(scale, array.dtype)
    )
