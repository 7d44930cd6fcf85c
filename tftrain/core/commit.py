"""What a step writes, where its update is applied, and what it puts back, where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.core_variables import read, write
from tftrain.core.types import Batch, Tensor, Tree

# Keras' optimizers that make finite numbers of finite ones, where their epsilon is well above 0; with the power of the
# gradient that must be finite too.
_POWERS = {
    **dict.fromkeys((keras.optimizers.SGD, keras.optimizers.Lion, keras.optimizers.Adamax), 1),
    **dict.fromkeys((keras.optimizers.Adam, keras.optimizers.AdamW, keras.optimizers.Nadam), 2),
    **dict.fromkeys((keras.optimizers.RMSprop, keras.optimizers.Adagrad, keras.optimizers.Adadelta), 2),
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
    before: Sequence[Tensor] = ()  # what parameters and optimizer were, where the update may have to be taken back


def size(optimizer: Any, rate: Tensor, norm: Tensor) -> Tensor:
    """A number that is finite only where the rate is, and the power of the gradient that is taken."""
    # Not norm * norm: TensorFlow might multiply a constant rate with one of them first, which hides an overflow.
    return tf.cast(rate, tf.float32) * (tf.square(norm) if _POWERS.get(type(optimizer)) == 2 else norm)


def make_commit(
    state: Any, change: Callable[[Update], None], keep: Callable[[Update], None]
) -> Callable[[Tensor, Update], Tensor]:
    """The function of a flag and an update, which it applies where the flag is set; whether it did.

    That is `change`, which updates the parameters, and where they and the optimizer's variables are still finite then
    `keep`, which does all else. Otherwise all is put back.
    """
    variables = state.model.trainable_variables
    risky = _may_spoil(state.optimizer, variables)
    changed = [one.value for one in (*variables, *state.optimizer.variables)] if risky else []

    def undo(update: Update) -> None:
        write(state.buffers, update.buffers)
        for variable, value in zip(changed, update.before, strict=True):
            # Each replica its own: a mean over replicas, which an assignment may take, would be rounded.
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

    def both(update: Update) -> None:
        change(update)
        keep(update)

    def commit(sound: Tensor, update: Update) -> Tensor:
        if not risky:
            replication.when(sound, both, undo if state.buffers else None, update)
            return sound
        update = update._replace(before=read(changed))
        replication.when(sound, change, None, update)
        sound &= _unspoilt(read(changed), update.before)
        replication.when(sound, keep, undo, update)
        return sound

    return commit


def _may_spoil(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Whether an update with finite gradients may give numbers that are not finite."""
    if type(optimizer) not in _POWERS or getattr(optimizer, "centered", False):
        return True
    betas = [np.float32(getattr(optimizer, name, 0)) for name in ("beta_1", "beta_2")]
    if max(betas) >= 1 or getattr(optimizer, "epsilon", 1) < _LEAST_EPSILON:
        return True
    constraints = [variable.constraint for variable in variables if variable.constraint is not None]
    return any(not type(one).__module__.startswith("keras.") for one in constraints)


def _unspoilt(after: list[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Whether every number that was finite before still is."""
    both = [(one, other) for one, other in zip(after, before, strict=True) if one.dtype.is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(one) | ~tf.math.is_finite(other)) for one, other in both])
