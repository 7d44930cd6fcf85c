"""TensorFlow's own kernels for the commonest optimizers: one operation and one pass, where Keras needs about ten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.types import Tensor

Update = Callable[[Tensor, tf.Variable, Tensor], None]  # of one variable, by its gradient and the rate

# The kernels cut what they do into pieces for several threads. Between these sizes that costs more than it saves.
SMALL, LARGE = 2**10, 2**15


@contextmanager
def fused(optimizer: Any) -> Iterator[None]:
    """While it lasts, `optimizer.apply` updates by such kernels where there are any; the formulas are the same.

    (Adam's has 1 - beta_2 in float32: of a usual 0.999 that is off by 5e-5, and the step by half as much.)
    For the optimizers themselves, not for what inherits from them, and not under a tf.distribute strategy.
    """
    make, own = _UPDATES.get(type(optimizer)), optimizer.update_step
    if make is None or tf.distribute.has_strategy() or getattr(optimizer, "amsgrad", False):
        yield
        return
    kernel = make(optimizer)

    def update_step(gradient: Any, variable: tf.Variable, rate: Tensor) -> None:
        (kernel if _fits(gradient, variable) else own)(gradient, variable, rate)

    vars(optimizer)["update_step"] = update_step
    try:
        yield
    finally:
        del vars(optimizer)["update_step"]


def _fits(gradient: Any, variable: tf.Variable) -> bool:
    size = variable.shape.num_elements()
    dense = isinstance(gradient, tf.Tensor) and gradient.dtype == variable.dtype == tf.float32
    return dense and size is not None and (size <= SMALL or size >= LARGE)


def _sgd(optimizer: keras.optimizers.SGD) -> Update:
    def update(gradient: Tensor, variable: tf.Variable, rate: Tensor) -> None:
        if optimizer.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=_slot(optimizer, optimizer.momentums, variable),
            lr=rate,
            grad=gradient,
            momentum=optimizer.momentum,
            use_nesterov=optimizer.nesterov,
        )

    return update


def _adam(optimizer: keras.optimizers.Adam) -> Update:
    beta_1, beta_2 = tf.constant(optimizer.beta_1, tf.float32), tf.constant(optimizer.beta_2, tf.float32)
    step = tf.cast(optimizer.iterations.value + 1, tf.float32)  # once for all variables
    beta_1_power, beta_2_power = tf.pow(beta_1, step), tf.pow(beta_2, step)

    def update(gradient: Tensor, variable: tf.Variable, rate: Tensor) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_slot(optimizer, optimizer._momentums, variable),
            v=_slot(optimizer, optimizer._velocities, variable),
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    return update


def _slot(optimizer: Any, slots: list, variable: tf.Variable) -> Tensor:
    return slots[optimizer._get_variable_index(variable)].value.handle


_UPDATES: dict[type, Callable[[Any], Update]] = {
    keras.optimizers.SGD: _sgd,
    keras.optimizers.Adam: _adam,
    keras.optimizers.AdamW: _adam,
}
