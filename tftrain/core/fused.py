"""The commonest optimizers in few operations for each variable: TensorFlow's own kernels, where these are quicker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.layer_hooks import hooked
from tftrain.core.types import Tensor

Update = Callable[[Tensor, tf.Variable], None]  # of one variable, by its gradient


@contextmanager
def fused(optimizer: Any, rate: Tensor, multiples: Sequence[float] = ()) -> Iterator[None]:
    """While it lasts, `optimizer.apply` updates by such kernels where there are any; the formulas are the same.

    (Adam's has 1 - beta_2 in float32: of a usual 0.999 that is off by 5e-5, and the step by half as much.)
    For the optimizers themselves, not for what inherits from them, and not under a tf.distribute strategy.
    `multiples` are those of the rate that the optimizer's variables have, where not all have the rate itself.
    """
    make, own = _UPDATES.get(type(optimizer)), optimizer.update_step
    if make is None or tf.distribute.has_strategy() or getattr(optimizer, "amsgrad", False):
        yield
        return
    multiples = multiples or [1.0] * len(optimizer._trainable_variables)
    updates = {multiple: make(optimizer, rate * multiple) for multiple in sorted(set(multiples) - {0.0})}

    def update_step(gradient: Any, variable: tf.Variable, learning_rate: Tensor) -> None:
        update = updates.get(multiples[optimizer._get_variable_index(variable)])
        if update is not None and isinstance(gradient, tf.Tensor) and gradient.dtype == variable.dtype == tf.float32:
            update(gradient, variable)
        else:
            own(gradient, variable, learning_rate)

    with hooked([optimizer], lambda _: update_step, "update_step"):
        yield


def _sgd(optimizer: keras.optimizers.SGD, rate: Tensor) -> Update:
    def update(gradient: Tensor, variable: tf.Variable) -> None:
        if optimizer.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=_slot(optimizer, optimizer.momentums, variable).handle,
            lr=rate,
            grad=gradient,
            momentum=optimizer.momentum,
            use_nesterov=optimizer.nesterov,
        )

    return update


def _adam(optimizer: keras.optimizers.Adam, rate: Tensor) -> Update:
    beta_1, beta_2 = tf.constant(optimizer.beta_1, tf.float32), tf.constant(optimizer.beta_2, tf.float32)
    step = tf.cast(optimizer.iterations.value + 1, tf.float32)
    beta_1_power, beta_2_power = tf.pow(beta_1, step), tf.pow(beta_2, step)
    own_rate = (
        rate * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
    )  # once for all variables, where Keras does for each

    def update(gradient: Tensor, variable: tf.Variable) -> None:
        m, v = (_slot(optimizer, slots, variable) for slots in (optimizer._momentums, optimizer._velocities))
        if not _is_better_whole(variable):
            m.assign_add((gradient - m) * (1 - optimizer.beta_1))
            v.assign_add((tf.square(gradient) - v) * (1 - optimizer.beta_2))
            variable.assign_sub(m * own_rate / (tf.sqrt(v) + optimizer.epsilon))
            return
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    return update


def _is_better_whole(variable: tf.Variable) -> bool:
    """Whether Adam's kernel beats the dozen operations that it stands for.

    It wakes other threads for all but the smallest variables, which costs some 20 microseconds: more than it saves
    below 2^15 numbers (measured). It goes by packets of 8 numbers, and by single ones where these do not fit.
    """
    size = variable.shape.num_elements()
    return size >= 2**15 or size <= 32 or (size <= 256 and size % 8 == 0)


def _slot(optimizer: Any, slots: list, variable: tf.Variable) -> tf.Variable:
    return slots[optimizer._get_variable_index(variable)].value


_UPDATES: dict[type, Callable[[Any, Tensor], Update]] = {
    keras.optimizers.SGD: _sgd,
    keras.optimizers.Adam: _adam,
    keras.optimizers.AdamW: _adam,
}
