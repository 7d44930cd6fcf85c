"""How the loss goes by each state of a recurrent layer, through all that comes after it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.hooks import hooked, layers_of
from tftrain.core.labels import Labels
from tftrain.core.types import Batch, Objective, Tensor


def state_gradients(objective: Objective, batch: Batch) -> dict[str, Tensor]:
    """The gradient of the loss with respect to the states h_t of each recurrent layer, [batch, time, units], by layer.

    It counts both ways that h_t has: up to the layers above, and on to the layer's own later states. Layers stand in
    the graph step by step; one that is called more than once has the steps of all its calls.
    """
    layers = [layer for layer in layers_of(objective.model) if isinstance(layer, keras.layers.RNN)]
    names, found = _names(objective.model), {}
    with tf.GradientTape() as tape, objective.unrolled(), _states(layers) as seen:
        loss, _, _ = objective(batch)
    grads = tape.gradient(loss, seen, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    for layer, states in zip(layers, grads, strict=True):
        if states:
            found[names[id(layer)]] = tf.stack(states[::-1] if layer.go_backwards else states, 1)
    return found


def _names(model: Any) -> dict[int, str]:
    labels, depth, names = Labels(model), 0, {}
    for layer in layers_of(model):
        depth = labels.depth(layer, depth)
        names[id(layer)] = labels.label(layer, depth)
    return names


@contextmanager
def _states(layers: list) -> Iterator[list[list[Tensor]]]:
    """While it lasts, the states that the cells of these layers give, time step by time step, a list for each layer."""
    seen: list[list[Tensor]] = [[] for _ in layers]
    places = {id(layer.cell): place for place, layer in enumerate(layers)}

    def telling(cell: Any) -> Callable:
        call = cell.call

        @functools.wraps(call)
        def tell(*args: Any, **kwargs: Any) -> tuple:
            output, states = call(*args, **kwargs)
            given = tf.identity(output)
            seen[places[id(cell)]].append(given)
            # A cell's first state is what it gives, as a rule: both ways then lead through the tensor that is seen.
            return given, tf.nest.map_structure(lambda state: given if state is output else state, states)

        return tell

    with hooked([layer.cell for layer in layers], telling):
        yield seen
