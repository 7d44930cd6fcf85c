"""One step of training, in the one place where its order is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import gradient_sums, replication
from tftrain.core.layer_calls import record_activations
from tftrain.core.numerics import global_norm, square_sums
from tftrain.core.remat import RematSpec
from tftrain.core.state import TrainState
from tftrain.core.types import (
    Batch,
    GradientMethod,
    Objective,
    Probe,
    Rate,
    StepOutputs,
    Tensor,
    Transform,
    Tree,
)
from tftrain.core.update import ParamOptions, apply_gradients
from tftrain.core.variables import assign_values, parameter_names, read_values

Row = dict[str, Tensor]  # the numbers of one step
Step = Callable[[Batch], tuple[Row, list]]


class StepSpec(NamedTuple):
    """What a step is made of.

    Args:
        objective: the model and its loss.
        method: computes the gradients.
        transform: changes them before the update, such as a clip.
        rate: the learning rate.
        metrics: Keras metrics that count each step.
        shares: the learning-rate multiplier and weight decay of each parameter; empty where all are the same.
        blocks: the blocks of the model whose activations are computed again in the backward pass.
    """

    objective: Objective
    method: GradientMethod
    transform: Transform
    rate: Rate
    metrics: Sequence[Any] = ()
    shares: Sequence[ParamOptions] = ()
    blocks: RematSpec = RematSpec()


class Gradients(NamedTuple):
    """What the forward and backward pass of a step gave, the same on all replicas but for `outputs` and `batch`."""

    loss: Tensor
    grads: list  # one for each parameter
    outputs: Tree
    carry: Tree
    batch: Batch  # the rows of this replica
    rows: Tensor | None  # how many of them count
    buffers: list  # the values of the model's other variables before the forward pass


class Update(NamedTuple):
    """What one step wants to write."""

    grads: list  # after the transforms
    rate: Tensor
    norm: Tensor  # of the gradients before the transforms
    transform: Tree
    rate_state: Tree
    computed: Gradients
    previous: Sequence[Tensor] = ()  # values that a bad update is undone with


def make_step(
    state: TrainState, step_spec: StepSpec, probes: Sequence[Probe] = ()
) -> Step:
    """Return the function that takes one batch, updates the state, and returns its numbers.

    Where the loss, the gradients or the update are not finite, or the gradient norm is a spike, everything stays as it
    was before the batch, except that the step is counted.

    Args:
        state: all variables of the run.
        step_spec: what the step is made of.
        probes: what is measured in the step.

    Returns:
        A function of a batch, for a graph. It returns a row of float32 scalars, with `grad_norms` and
        `clipped_grad_norms`, [parameters], and `finite`, 1 where the update was applied; and what each probe measured.
    """
    names = tuple(parameter_names(state.model))
    apply_update = make_guarded_update(
        state, _make_change(state, step_spec), _make_keep(state, step_spec)
    )

    def step(batch: Batch) -> tuple[Row, list]:
        params = step_spec.objective.params
        with record_activations() as activations:
            computed = _compute_gradients(state, step_spec, batch)
        with tf.name_scope("norms"):
            squares = square_sums(computed.grads)
            norm = global_norm(squares)
        with tf.name_scope("transforms"):
            grads, transform_state, scalars = step_spec.transform.update(
                computed.grads, read_values(state.transform), params
            )
        with tf.name_scope("rate"):
            rate, rate_state = step_spec.rate.update(
                read_values(state.rate), state.step.read_value(), norm
            )
        with tf.name_scope("guard"):
            is_unchanged = _are_identical(grads, computed.grads)
            clipped_squares = squares if is_unchanged else square_sums(grads)
            clipped_norm = global_norm(clipped_squares)
            probe_value = overflow_probe(state.optimizer, rate, clipped_norm)
            is_good = state.norm_range.holds(norm)
            is_good &= tf.math.is_finite(computed.loss + probe_value)
        old_params = read_values(params) if probes else []
        with tf.name_scope("update"):
            update = Update(
                grads, rate, norm, transform_state, rate_state, computed
            )
            is_applied = apply_update(is_good, update)
            state.step.assign_add(1)
        with tf.name_scope("signals"):
            row = {
                "loss": computed.loss,
                "learning_rate": rate,
                "finite": is_applied,
                **_update_loss_scale(state, computed.loss, norm),
                **scalars,
                **_norm_signals(squares, clipped_squares),
            }
            row = {
                name: tf.cast(value, tf.float32) for name, value in row.items()
            }
            updates = (
                _subtract_all(read_values(params), old_params) if probes else []
            )
            outputs = StepOutputs(
                computed.loss,
                computed.outputs,
                old_params,
                computed.grads,
                grads,
                updates,
                names,
                activations,
            )
            return row, [probe.measure(outputs) for probe in probes]

    return step


def _compute_gradients(
    state: TrainState, step_spec: StepSpec, batch: Batch
) -> Gradients:
    """Run the forward and backward pass on this replica's rows of a batch, and sum over the replicas."""
    carry = read_values(state.carry)
    local_batch, rows = replication.local_batch(batch)
    # The forward pass already changes them, and a NaN there would stay for ever.
    buffers = read_values(state.buffers)
    with tf.name_scope("gradients"):
        objective = replication.weighted_objective(
            step_spec.objective, local_batch, rows
        )
        loss, grads, outputs, local_carry = step_spec.method(
            objective, local_batch, replication.local_carry(carry, batch)
        )
        carry = replication.global_carry(local_carry, carry, batch)
        loss, *grads = gradient_sums.all_reduce_sum([loss, *grads])
        replication.sync_buffers(state.buffers, buffers, rows)
    return Gradients(loss, grads, outputs, carry, local_batch, rows, buffers)


def _make_change(
    state: TrainState, step_spec: StepSpec
) -> Callable[[Update], None]:
    """Return what updates the parameters."""
    variables = state.model.trainable_variables
    options = step_spec.shares or [ParamOptions()] * len(variables)

    def change(update: Update) -> None:
        apply_gradients(
            state.optimizer, update.grads, variables, update.rate, options
        )

    return change


def _make_keep(
    state: TrainState, step_spec: StepSpec
) -> Callable[[Update], None]:
    """Return what updates everything else once the parameters are known to be finite."""

    def keep(update: Update) -> None:
        computed = update.computed
        assign_values(state.transform, update.transform)
        assign_values(state.rate, update.rate_state)
        assign_values(state.carry, computed.carry)
        state.norm_range.add(update.norm)
        if state.averages is not None:
            state.averages.advance()

        def update_metrics() -> None:
            for metric in step_spec.metrics:
                step_spec.objective.score(
                    metric, computed.batch, computed.outputs
                )

        replication.where_rows(computed.rows, update_metrics)

    return keep


def _update_loss_scale(state: TrainState, loss: Tensor, norm: Tensor) -> Row:
    """Return the loss scale of this step, and update it by whether it was small enough."""
    if state.loss_scale is None:
        return {}
    scale = tf.identity(state.loss_scale.value.read_value())
    is_finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
    state.loss_scale.update(loss, is_finite)
    return {"loss_scale": scale}


def _are_identical(tensors: list[Tensor], candidates: list[Tensor]) -> bool:
    pairs = zip(tensors, candidates, strict=True)
    return all(tensor is candidate for tensor, candidate in pairs)


def _subtract_all(new: list[Tensor], old: list[Tensor]) -> list[Tensor]:
    return [
        new_value - old_value
        for new_value, old_value in zip(new, old, strict=True)
    ]


def _norm_signals(squares: Tensor, clipped_squares: Tensor) -> Row:
    return {
        "grad_norm": global_norm(squares),
        "clipped_grad_norm": global_norm(clipped_squares),
        "grad_norms": tf.sqrt(squares),
        "clipped_grad_norms": tf.sqrt(clipped_squares),
    }


# Keras' optimizers that make finite numbers of finite ones, where their epsilon is well above 0; with the power of the
# gradient that must be finite too.
_GRADIENT_POWERS = {
    keras.optimizers.SGD: 1,
    keras.optimizers.Lion: 1,
    keras.optimizers.Adamax: 1,
    keras.optimizers.Adam: 2,
    keras.optimizers.AdamW: 2,
    keras.optimizers.Nadam: 2,
    keras.optimizers.RMSprop: 2,
    keras.optimizers.Adagrad: 2,
    keras.optimizers.Adadelta: 2,
}
_MIN_EPSILON = 1e-16


def overflow_probe(optimizer: Any, rate: Tensor, norm: Tensor) -> Tensor:
    """Return a number that is finite only where the rate is, and the power of the gradient that the optimizer takes.

    Args:
        optimizer: a Keras optimizer.
        rate: the learning rate.
        norm: that of the gradients after the transforms.
    """
    power = _GRADIENT_POWERS.get(type(optimizer))
    # Not norm * norm: TensorFlow might multiply a constant rate with one of them first, which hides an overflow.
    value = tf.square(norm) if power == 2 else norm
    return tf.cast(rate, tf.float32) * value


def make_guarded_update(
    state: TrainState,
    change: Callable[[Update], None],
    keep: Callable[[Update], None],
) -> Callable[[Tensor, Update], Tensor]:
    """Return the function that applies an update where it is good, and leaves everything as it was where it is not.

    Args:
        state: all variables of the run.
        change: updates the parameters; where they and the optimizer's variables are not finite then, it is undone.
        keep: updates everything else.

    Returns:
        A function of a flag, whether the loss and the gradients are good, and an update. It returns whether the update
        was applied.
    """
    variables = state.model.trainable_variables
    may_fail = _may_produce_nonfinite(state.optimizer, variables)
    changed = []
    if may_fail:
        changed = [
            variable.value
            for variable in (*variables, *state.optimizer.variables)
        ]

    def undo(update: Update) -> None:
        assign_values(state.buffers, update.computed.buffers)
        for variable, value in zip(changed, update.previous, strict=True):
            # Each replica its own: a mean over replicas, which an assignment may take, would be rounded.
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

    def change_and_keep(update: Update) -> None:
        change(update)
        keep(update)

    def apply_update(is_good: Tensor, update: Update) -> Tensor:
        if not may_fail:
            undo_buffers = undo if state.buffers else None
            replication.replicated_cond(
                is_good, change_and_keep, undo_buffers, update
            )
            return is_good
        update = update._replace(previous=read_values(changed))
        replication.replicated_cond(is_good, change, None, update)
        is_good &= _stayed_finite(read_values(changed), update.previous)
        replication.replicated_cond(is_good, keep, undo, update)
        return is_good

    return apply_update


def _may_produce_nonfinite(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Whether an update with finite gradients may give values that are not finite."""
    is_known = type(optimizer) in _GRADIENT_POWERS
    if not is_known or getattr(optimizer, "centered", False):
        return True
    betas = [
        np.float32(getattr(optimizer, name, 0)) for name in ("beta_1", "beta_2")
    ]
    if max(betas) >= 1 or getattr(optimizer, "epsilon", 1) < _MIN_EPSILON:
        return True
    constraints = [variable.constraint for variable in variables]
    return any(
        constraint is not None
        and not type(constraint).__module__.startswith("keras.")
        for constraint in constraints
    )


def _stayed_finite(new: list[Tensor], old: Sequence[Tensor]) -> Tensor:
    """Whether every number that was finite before still is."""
    checks = [
        tf.reduce_all(
            tf.math.is_finite(new_value) | ~tf.math.is_finite(old_value)
        )
        for new_value, old_value in zip(new, old, strict=True)
        if new_value.dtype.is_floating
    ]
    return tf.reduce_all(checks)
