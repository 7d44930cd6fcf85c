"""Whether a model's loss is the same in two equal passes; if it is not, what draws the random numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.determinism import REPEATABLE, Operations, find_random_op
from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.types import Batch, Objective
from tftrain.core.variables import preserve_state
from tftrain.data.batches import map_leaves

# By so many units in the last place two passes may differ that sum in another order.
_ROUNDING_UNITS = 100


def nondeterminism_message(objective: Objective, batch: Batch) -> str | None:
    """Return in words how the losses of equal passes differ; None where they are equal but for rounding, or not finite.

    The pass is traced twice and each trace is run twice, because an operation may draw numbers when it is traced or
    when it is run. It is also run once as in training, where a layer may draw anew at each time step. Nothing is
    changed by it.

    Args:
        objective: the model and its loss.
        batch: a sample.
    """
    batch = map_leaves(tf.convert_to_tensor, batch)
    with (
        preserve_state(objective.model),
        replication.first_of(objective.model.variables[0].value),
    ):
        losses = _repeated_losses(objective, batch)
        if not np.all(np.isfinite(losses)) or _equal_but_for_rounding(losses):
            return None
        source = _describe_random_source(
            objective.model, lambda: _evaluate_loss(objective, batch)
        )
    lowest = float(min(losses))
    highest = float(max(losses))
    first = f"{lowest:.4g}"
    second = f"{highest:.4g}"
    if first == second:
        first = repr(lowest)
        second = repr(highest)
    expected = f"the same in both: random numbers such as those of {REPEATABLE}"
    return f"the loss of a batch is {first} in one pass and {second} in an equal one{source}; expected {expected}"


def _evaluate_loss(objective: Objective, batch: Batch) -> Any:
    """Return the loss as a function of the parameters, as the passes that are compared see it."""
    params = [tf.convert_to_tensor(param) for param in objective.params]
    with objective.at(params):
        return objective(batch)[0]


def _repeated_losses(objective: Objective, batch: Batch) -> list[np.ndarray]:
    def evaluate_twice() -> list:
        return [
            _evaluate_loss(objective, batch),
            _evaluate_loss(objective, batch),
        ]

    two_passes = tf.function(
        evaluate_twice, autograph=False
    ).get_concrete_function()
    losses = [*two_passes(), *two_passes()]
    training_pass = tf.function(lambda: objective(batch)[0], autograph=False)
    losses.append(training_pass())
    return [loss.numpy() for loss in losses]


def _equal_but_for_rounding(losses: list[np.ndarray]) -> bool:
    lowest = float(min(losses))
    highest = float(max(losses))
    unit = float(np.finfo(losses[0].dtype).eps) * max(abs(lowest), abs(highest))
    return highest - lowest <= _ROUNDING_UNITS * unit


def _describe_random_source(model: Any, evaluate: Callable[[], Any]) -> str:
    """Return which operation draws numbers, and in which layer, after a colon; empty where none is seen."""
    messages = []

    def watched_call(layer: Any) -> Callable:
        call = layer.call

        @functools.wraps(call)
        def call_and_look(*args: Any, **kwargs: Any) -> Any:
            operations = Operations()
            outputs = call(*args, **kwargs)
            drawing = find_random_op(operations.since())
            if drawing:
                messages.append(
                    f": in {layer.name} ({type(layer).__name__}) {drawing}"
                )
            return outputs

        return call_and_look

    def trace() -> None:
        operations = Operations()
        with patched_attribute(all_layers(model), watched_call):
            evaluate()
        drawing = find_random_op(operations.since())
        if drawing:
            messages.append(f": {drawing}")

    tf.function(trace, autograph=False).get_concrete_function()
    messages += _describe_drawing_cells(model)
    # An inner layer ends its call before the layer around it, so the first message is the most exact one.
    return messages[0] if messages else ""


def _describe_drawing_cells(model: Any) -> list[str]:
    """Return a line for each recurrent layer that draws numbers anew at each time step.

    Dropout of the layer itself does not: Keras draws its mask once for all time steps.
    """
    return [
        f": {layer.name} ({type(layer).__name__}) draws other random numbers at each time step"
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.RNN)
        and _draws_at_each_step(layer.cell)
    ]


def _draws_at_each_step(cell: Any) -> bool:
    return any(
        inner._seed_generators
        for inner in all_layers(cell)
        if not hasattr(inner, "get_dropout_mask")
    )
