"""How the loss goes by each state of a recurrent layer, through all that comes after it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.layer_calls import LayerNames
from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.masks import mask_of
from tftrain.core.recurrent import LOOP
from tftrain.core.types import Batch, Objective, Tensor


def gradients_through_time(
    objective: Objective, batch: Batch, inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the gradients of the loss with respect to inputs, and to the states h_t of each recurrent layer.

    These are by layer, [batch, time, units]. Where the loss gives a number for each time step it
    is that of the last one: that of all would add to each h_t what comes of the targets right after it.

    It counts both ways that h_t has: up to the layers above, and on to the layer's own later states; where a mask
    leaves a step out, h_t is the state that is not used, and its gradient 0. Layers stand in the graph step by step;
    each call of a layer has states of its own.

    Args:
        objective: the model and its loss.
        batch: the examples.
        inputs: by name.
    """
    layers = [
        layer
        for layer in all_layers(objective.model)
        if isinstance(layer, keras.layers.RNN)
    ]
    names, batch = (
        _layer_names(objective.model),
        last_step_only(objective, batch),
    )
    with (
        tf.GradientTape() as tape,
        objective.unrolled(),
        _recording_states(layers) as calls,
    ):
        tape.watch([*inputs.values()])
        loss, _, _ = objective(batch)
    states = [states for _, states in calls]
    reached, grads = tape.gradient(
        loss,
        [[*inputs.values()], states],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    gradients = dict(zip(inputs, reached, strict=True))
    for (layer, _), steps in zip(calls, grads, strict=True):
        name = plain = names[id(layer)]
        number = 2
        while name in gradients:
            name, number = f"{plain} (call {number})", number + 1
        gradients[name] = tf.stack(
            steps[::-1] if layer.go_backwards else steps, 1
        )
    return gradients


def last_step_only(objective: Objective, batch: Batch) -> Batch:
    """Return a batch in which only the last time step of each example counts, where the loss gives a number for each.

    That is the last one that is not masked.

    Args:
        objective: the model and its loss.
        batch: the examples.
    """
    if (objective.loss_rank or 1) < 2:
        return batch
    mask = mask_of(objective(batch, training=False)[1])
    counts = (
        tf.ones(tf.shape(batch.y)[:2])
        if mask is None
        else tf.cast(mask, tf.float32)
    )  # [batch, time]
    steps = tf.shape(counts)[1]
    last = tf.one_hot(
        steps - 1 - tf.argmax(counts[:, ::-1], 1, tf.int32), steps
    )
    if batch.weight is None:
        return batch._replace(weight=last)
    weight = (
        batch.weight
        if len(batch.weight.shape) > 1
        else batch.weight[:, tf.newaxis]
    )
    return batch._replace(weight=last * weight)


def _layer_names(model: Any) -> dict[int, str]:
    labels, depth, names = LayerNames(model), 0, {}
    for layer in all_layers(model):
        depth = labels.depth(layer, depth)
        names[id(layer)] = labels.label(layer, depth)
    return names


@contextmanager
def _recording_states(layers: list) -> Iterator[list[tuple[Any, list[Tensor]]]]:
    """While it lasts, a list for each call of these layers: the states that its cell gives, time step by time step."""
    calls: list[tuple[Any, list[Tensor]]] = []

    def recording_loop(layer: Any) -> Callable:
        inner = getattr(layer, LOOP)

        @functools.wraps(inner)
        def loop(*args: Any, **kwargs: Any) -> tuple:
            calls.append((layer, []))
            return inner(*args, **kwargs)

        return loop

    def recording_cell(cell: Any) -> Callable:
        call = cell.call

        @functools.wraps(call)
        def record_state(*args: Any, **kwargs: Any) -> tuple:
            output, states = call(*args, **kwargs)
            calls[-1][1].append(tf.nest.flatten(states)[0])
            return output, states

        return record_state

    cells = list(
        {id(layer.cell): layer.cell for layer in layers}.values()
    )  # two layers may share one
    with ExitStack() as hooks:
        hooks.enter_context(
            patched_attribute(
                [layer for layer in layers if hasattr(layer, LOOP)],
                recording_loop,
                LOOP,
            )
        )
        hooks.enter_context(patched_attribute(cells, recording_cell))
        yield calls
