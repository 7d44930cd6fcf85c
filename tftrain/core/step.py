"""One step of training, in the one place where its order is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
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

Row = dict[str, Tensor]
Step = Callable[[Batch], tuple[Row, list]]


class StepSpec(NamedTuple):
    """What the step is made of; `shares` are the own rates and decays of the parameters, where there are such.

    `blocks` of the model compute their activations again in the backward pass.
    """

    objective: Objective
    method: GradientMethod
    transform: Transform
    rate: Rate
    metrics: Sequence[Any] = ()
    shares: Sequence[ParamOptions] = ()
    blocks: RematSpec = RematSpec()


def make_step(
    state: TrainState, recipe: StepSpec, probes: Sequence[Probe] = ()
) -> Step:
    """The function that takes one batch, updates the state, and gives a row of numbers and what the probes measured.

    The row holds float32 scalars, and `grad_norms` and `clipped_grad_norms`, [parameters]. Where the loss, the gradient
    or the update is not finite, or the gradient's norm is a spike, `finite` is 0 and all stays as it was before the
    batch, except that the step is counted.
    """
    objective, names = recipe.objective, tuple(parameter_names(state.model))
    commit = make_guarded_update(state, _change(state, recipe), _keep(state, recipe))

    def step(batch: Batch) -> tuple[Row, list]:
        params, whole, before_it = objective.params, batch, read_values(state.carry)
        batch, rows = replication.local_batch(whole)
        buffers = read_values(
            state.buffers
        )  # the forward pass already changes them, and a NaN there would stay for ever
        with tf.name_scope("gradients"):
            with record_activations() as activations:
                share = replication.weighted_objective(objective, batch, rows)
                loss, raw, outputs, carry = recipe.method(
                    share, batch, replication.own_carry(before_it, whole)
                )
                carry = replication.whole_carry(carry, before_it, whole)
            loss, *raw = replication.all_reduce_sum([loss, *raw])
            replication.sync_buffers(state.buffers, buffers, rows)
        with tf.name_scope("norms"):
            squares = square_sums(raw)
            norm = global_norm(squares)
        with tf.name_scope("transforms"):
            grads, transformed, scalars = recipe.transform.update(
                raw, read_values(state.transform), params
            )
        with tf.name_scope("rate"):
            rate, rated = recipe.rate.update(
                read_values(state.rate), state.step.read_value(), norm
            )
        with tf.name_scope("guard"):
            clipped = squares if _same(grads, raw) else square_sums(grads)
            sound = state.norm_range.holds(norm)
            sound &= tf.math.is_finite(
                loss + overflow_probe(state.optimizer, rate, global_norm(clipped))
            )
        before = read_values(params) if probes else []
        with tf.name_scope("update"):
            applied = commit(
                sound,
                Update(
                    grads,
                    rate,
                    norm,
                    transformed,
                    rated,
                    carry,
                    outputs,
                    batch,
                    rows,
                    buffers,
                ),
            )
            state.step.assign_add(1)
        with tf.name_scope("signals"):
            row = {
                "loss": loss,
                "learning_rate": rate,
                "finite": applied,
                **_scaling(state, loss, norm),
                **scalars,
            }
            row |= _norm_signals(squares, clipped)
            row = {name: tf.cast(value, tf.float32) for name, value in row.items()}
            updates = (
                [
                    after - param
                    for after, param in zip(read_values(params), before, strict=True)
                ]
                if probes
                else []
            )
            moment = StepOutputs(
                loss, outputs, before, raw, grads, updates, names, activations
            )
            return row, [probe.measure(moment) for probe in probes]

    return step


def _change(state: TrainState, recipe: StepSpec) -> Callable[[Update], None]:
    variables = state.model.trainable_variables
    shares = recipe.shares or [ParamOptions()] * len(variables)
    return lambda update: apply_gradients(
        state.optimizer, update.grads, variables, update.rate, shares
    )


def _keep(state: TrainState, recipe: StepSpec) -> Callable[[Update], None]:
    def keep(update: Update) -> None:
        assign_values(
            (state.transform, state.rate, state.carry),
            (update.transform, update.rate_state, update.carry),
        )
        state.norm_range.add(update.norm)
        if state.averages is not None:
            state.averages.advance()
        replication.where_rows(update.rows, lambda: _count(recipe, update))

    return keep


def _count(recipe: StepSpec, update: Update) -> None:
    for metric in recipe.metrics:
        recipe.objective.score(metric, update.batch, update.outputs)


def _scaling(state: TrainState, loss: Tensor, norm: Tensor) -> Row:
    """The loss scale of this step, which then takes in whether it was small enough."""
    if state.loss_scale is None:
        return {}
    scale = tf.identity(state.loss_scale.value.read_value())
    state.loss_scale.update(loss, tf.math.is_finite(loss) & tf.math.is_finite(norm))
    return {"loss_scale": scale}


def _same(these: list[Tensor], those: list[Tensor]) -> bool:
    return all(this is that for this, that in zip(these, those, strict=True))


def _norm_signals(raw: Tensor, clipped: Tensor) -> Row:
    return {
        "grad_norm": global_norm(raw),
        "clipped_grad_norm": global_norm(clipped),
        "grad_norms": tf.sqrt(raw),
        "clipped_grad_norms": tf.sqrt(clipped),
    }


# Keras' optimizers that make finite numbers of finite ones, where their epsilon is well above 0; with the power of the
# gradient that must be finite too.
_POWERS = {
    **dict.fromkeys(
        (keras.optimizers.SGD, keras.optimizers.Lion, keras.optimizers.Adamax), 1
    ),
    **dict.fromkeys(
        (keras.optimizers.Adam, keras.optimizers.AdamW, keras.optimizers.Nadam), 2
    ),
    **dict.fromkeys(
        (keras.optimizers.RMSprop, keras.optimizers.Adagrad, keras.optimizers.Adadelta),
        2,
    ),
}
_LEAST_EPSILON = 1e-16


class Update(NamedTuple):
    """What one step wants to write."""

    grads: list
    rate: Tensor
    norm: Tensor  # of the gradient before the transforms
    transform: Tree
    rate_state: Tree
    carry: Tree
    outputs: Tree
    batch: Batch
    rows: Tensor | None  # how many of the batch count
    buffers: list  # what the model's other variables were before the batch
    before: Sequence[
        Tensor
    ] = ()  # what parameters and optimizer were, where the update may have to be taken back


def overflow_probe(optimizer: Any, rate: Tensor, norm: Tensor) -> Tensor:
    """A number that is finite only where the rate is, and the power of the gradient that is taken."""
    # Not norm * norm: TensorFlow might multiply a constant rate with one of them first, which hides an overflow.
    return tf.cast(rate, tf.float32) * (
        tf.square(norm) if _POWERS.get(type(optimizer)) == 2 else norm
    )


def make_guarded_update(
    state: Any, change: Callable[[Update], None], keep: Callable[[Update], None]
) -> Callable[[Tensor, Update], Tensor]:
    """The function of a flag and an update, which it applies where the flag is set; whether it did.

    That is `change`, which updates the parameters, and where they and the optimizer's variables are still finite then
    `keep`, which does all else. Otherwise all is put back.
    """
    variables = state.model.trainable_variables
    risky = _may_produce_nonfinite(state.optimizer, variables)
    changed = (
        [one.value for one in (*variables, *state.optimizer.variables)] if risky else []
    )

    def undo(update: Update) -> None:
        assign_values(state.buffers, update.buffers)
        for variable, value in zip(changed, update.before, strict=True):
            # Each replica its own: a mean over replicas, which an assignment may take, would be rounded.
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

    def both(update: Update) -> None:
        change(update)
        keep(update)

    def commit(sound: Tensor, update: Update) -> Tensor:
        if not risky:
            replication.replicated_cond(
                sound, both, undo if state.buffers else None, update
            )
            return sound
        update = update._replace(before=read_values(changed))
        replication.replicated_cond(sound, change, None, update)
        sound &= _unspoilt(read_values(changed), update.before)
        replication.replicated_cond(sound, keep, undo, update)
        return sound

    return commit


def _may_produce_nonfinite(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Whether an update with finite gradients may give numbers that are not finite."""
    if type(optimizer) not in _POWERS or getattr(optimizer, "centered", False):
        return True
    betas = [np.float32(getattr(optimizer, name, 0)) for name in ("beta_1", "beta_2")]
    if max(betas) >= 1 or getattr(optimizer, "epsilon", 1) < _LEAST_EPSILON:
        return True
    constraints = [
        variable.constraint for variable in variables if variable.constraint is not None
    ]
    return any(not type(one).__module__.startswith("keras.") for one in constraints)


def _unspoilt(after: list[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Whether every number that was finite before still is."""
    both = [
        (one, other)
        for one, other in zip(after, before, strict=True)
        if one.dtype.is_floating
    ]
    return tf.reduce_all(
        [
            tf.reduce_all(tf.math.is_finite(one) | ~tf.math.is_finite(other))
            for one, other in both
        ]
    )
