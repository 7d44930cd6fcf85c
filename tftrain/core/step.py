"""One step of training, in the one place where its order is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tftrain.core.norms import global_norm, square_sums
from tftrain.core.state import TrainState, read, write
from tftrain.core.types import Batch, GradientMethod, Moment, Objective, Probe, Rate, Tensor, Transform

Row = dict[str, Tensor]
Step = Callable[[Batch], tuple[Row, list]]


class Recipe(NamedTuple):
    """How a run trains: what the step is made of."""

    objective: Objective
    method: GradientMethod
    transform: Transform
    rate: Rate
    metrics: Sequence[Any] = ()


def make_step(state: TrainState, recipe: Recipe, probes: Sequence[Probe] = ()) -> Step:
    """The function that takes one batch, updates the state, and gives a row of numbers and what the probes measured.

    The row holds float32 scalars, and `grad_norms` and `clipped_grad_norms`, [parameters]. Where the loss or the
    gradient is not finite, all stays as it was before the batch, except that the step is counted.
    """
    objective, method, transform, rate, metrics = recipe
    names = tuple(parameter_names(state.model))

    def step(batch: Batch) -> tuple[Row, list]:
        params = objective.params
        buffers = read(state.buffers)  # the forward pass already changes them, and a NaN there would stay for ever
        with tf.name_scope("gradients"):
            loss, raw, outputs, carry = method(objective, batch, read(state.carry))
        with tf.name_scope("norms"):
            squares = square_sums(raw)
            norm = global_norm(squares)
            finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        with tf.name_scope("transforms"):
            grads, transformed, scalars = transform.update(raw, read(state.transform), params)
        with tf.name_scope("rate"):
            speed, rated = rate.update(read(state.rate), state.step.read_value(), norm)
        before = read(params) if probes else []

        def commit():
            write((state.transform, state.rate, state.carry), (transformed, rated, carry))
            state.optimizer.learning_rate.assign(speed)
            state.optimizer.apply(grads, state.model.trainable_variables)
            for metric in metrics:
                metric.update_state(batch.y, objective.probabilities(outputs), sample_weight=batch.weight)

        with tf.name_scope("update"):
            tf.cond(finite, commit, lambda: write(state.buffers, buffers))
            state.step.assign_add(1)
        with tf.name_scope("signals"):
            row = {"loss": loss, "learning_rate": speed, "finite": finite, **scalars}
            row |= _norm_signals(squares, squares if _same(grads, raw) else square_sums(grads))
            row = {name: tf.cast(value, tf.float32) for name, value in row.items()}
            updates = [after - param for after, param in zip(read(params), before, strict=True)] if probes else []
            moment = Moment(loss, outputs, before, raw, grads, updates, names)
            return row, [probe.measure(moment) for probe in probes]

    return step


def parameter_names(model: Any) -> list[str]:
    """A name such as `002.encoder.dense/kernel` for each trainable variable, counting layers in order."""
    layers: dict[tuple[str, int], int] = {}
    seen: dict[str, int] = {}
    names = []
    for variable in model.trainable_variables:
        path = variable.path.removeprefix(f"{model.name}/")
        layer, _, name = path.rpartition("/")
        # Two layers can have one path; the second `kernel` under it must belong to the second layer.
        seen[path] = seen.get(path, 0) + 1
        index = layers.setdefault((layer, seen[path]), len(layers))
        names.append(f"{index:03d}.{layer.replace('/', '.') or model.name}/{name}")
    return names


def _same(these: list[Tensor], those: list[Tensor]) -> bool:
    return all(this is that for this, that in zip(these, those, strict=True))


def _norm_signals(raw: Tensor, clipped: Tensor) -> Row:
    return {
        "grad_norm": global_norm(raw),
        "clipped_grad_norm": global_norm(clipped),
        "grad_norms": tf.sqrt(raw),
        "clipped_grad_norms": tf.sqrt(clipped),
    }
