"""How gradients become new parameters: the optimizer, with rates, weight decay and averages of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tftrain.core.layer_hooks import patched_attribute, replace_attribute
from tftrain.core.numerics import Gradient
from tftrain.core.replication import taking_sums
from tftrain.core.types import Tensor
from tftrain.core.variables import ON_FIRST_REPLICA


class ParamOptions(NamedTuple):
    """What applies to one parameter alone: a multiple of the rate, and its weight decay, where Keras does none."""

    rate: float = 1.0
    weight_decay: float | None = None


def apply_gradients(
    optimizer: Any,
    grads: Sequence[Gradient],
    variables: Sequence[Any],
    rate: Tensor,
    shares: Sequence[ParamOptions],
) -> None:
    """Update the parameters.

    Weight decay is decoupled (Loshchilov & Hutter, 2019): it shrinks a parameter by rate * decay, before the update, as
    Keras does. A parameter with a multiple of the rate is trained as by an optimizer of its own with that rate. (To
    scale the change would not do: not every update is proportional to its rate. That of Ftrl is not, and schedule-free
    AdamW averages over its steps.) With a multiple of 0 it is not updated. A variable's constraint comes last.

    Args:
        optimizer: a Keras optimizer.
        grads: one for each parameter.
        variables: the parameters.
        rate: the learning rate.
        shares: the multiplier of the rate and the weight decay of each parameter.
    """
    for variable, share in zip(variables, shares, strict=True):
        if share.weight_decay:
            decay = share.rate * share.weight_decay
            variable.value.assign_sub(variable.value * (rate * decay))
    optimizer.learning_rate.assign(rate)
    multiples = [share.rate for share in shares]
    if set(multiples) != {1.0}:
        _set_multiples(optimizer, multiples)
    with taking_sums(optimizer), fused_kernels(optimizer, rate, multiples):
        optimizer.apply(list(grads), list(variables))


def _set_multiples(optimizer: Any, multiples: Sequence[float]) -> None:
    """From now on the optimizer trains each parameter at its multiple of the rate; to say so again changes nothing.

    For good, and not only around an update: several replicas have one optimizer, and none of them ends first.
    """
    kind = type(optimizer)

    def multiple_of(variable: Any) -> float:
        return multiples[optimizer._get_variable_index(variable)]

    def update_step(
        gradient: Gradient, variable: Any, learning_rate: Any
    ) -> None:
        multiple = multiple_of(variable)
        if multiple:
            kind.update_step(
                optimizer, gradient, variable, learning_rate * multiple
            )

    def apply_weight_decay(variables: Sequence[Any]) -> None:
        rate = optimizer.learning_rate.value.read_value()
        for multiple in sorted(set(multiples)):
            optimizer.learning_rate.assign(
                rate * multiple
            )  # Keras takes it from there
            members = [
                variable
                for variable in variables
                if multiple_of(variable) == multiple
            ]
            kind._apply_weight_decay(optimizer, members)
        optimizer.learning_rate.assign(rate)

    replace_attribute(optimizer, "update_step", update_step)
    replace_attribute(optimizer, "_apply_weight_decay", apply_weight_decay)


class ParamEMA:
    """Exponential moving averages of the parameters, one step for each update (Polyak & Juditsky, 1992)."""

    def __init__(self, params: Sequence[tf.Variable], decay: float):
        self._params = list(params)
        self._decay = decay
        self.variables = [
            tf.Variable(param.read_value(), name="average", **ON_FIRST_REPLICA)
            for param in params
        ]

    def advance(self) -> None:
        """Move the averages towards the parameters, after an update."""
        for average, param in zip(self.variables, self._params, strict=True):
            distance = average.read_value() - param.read_value()
            average.assign_sub((1 - self._decay) * distance)

    def swap(self) -> None:
        """Exchange the parameters with their averages; a second call puts them back, bit for bit."""
        for average, param in zip(self.variables, self._params, strict=True):
            param_value = tf.identity(param.read_value())
            param.assign(average.read_value())
            average.assign(param_value)


Update = Callable[
    [Tensor, tf.Variable], None
]  # of one variable, by its gradient


@contextmanager
def fused_kernels(
    optimizer: Any, rate: Tensor, multiples: Sequence[float] = ()
) -> Iterator[None]:
    """Have `optimizer.apply` update by TensorFlow's fused kernels during the block, where there are any.

    (Adam's has 1 - beta_2 in float32: of a usual 0.999 that is off by 5e-5, and the step by half as much.)
    For the optimizers themselves, not for what inherits from them, and not under a tf.distribute strategy.
    `multiples` are those of the rate that the optimizer's variables have, where not all have the rate itself.

    Args:
        optimizer: a Keras optimizer.
        rate: the learning rate.
        multiples: those of the rate, one for each variable; empty where all have the rate itself.
    """
    make = _UPDATES.get(type(optimizer))
    is_amsgrad = getattr(optimizer, "amsgrad", False)
    if make is None or is_amsgrad or tf.distribute.has_strategy():
        yield
        return
    keras_update_step = optimizer.update_step
    multiples = multiples or [1.0] * len(optimizer._trainable_variables)
    updates = {
        multiple: make(optimizer, rate * multiple)
        for multiple in sorted(set(multiples) - {0.0})
    }

    def update_step(
        gradient: Any, variable: tf.Variable, learning_rate: Tensor
    ) -> None:
        index = optimizer._get_variable_index(variable)
        update = updates.get(multiples[index])
        is_dense = isinstance(gradient, tf.Tensor)
        is_float32 = gradient.dtype == variable.dtype == tf.float32
        if update is not None and is_dense and is_float32:
            update(gradient, variable)
        else:
            keras_update_step(gradient, variable, learning_rate)

    with patched_attribute([optimizer], lambda _: update_step, "update_step"):
        yield


def _make_sgd(optimizer: keras.optimizers.SGD, rate: Tensor) -> Update:
    def update(gradient: Tensor, variable: tf.Variable) -> None:
        if optimizer.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=rate, delta=gradient
            )
            return
        momentum = _slot_variable(optimizer, optimizer.momentums, variable)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=rate,
            grad=gradient,
            momentum=optimizer.momentum,
            use_nesterov=optimizer.nesterov,
        )

    return update


def _make_adam(optimizer: keras.optimizers.Adam, rate: Tensor) -> Update:
    beta_1 = tf.constant(optimizer.beta_1, tf.float32)
    beta_2 = tf.constant(optimizer.beta_2, tf.float32)
    step = tf.cast(optimizer.iterations.value + 1, tf.float32)
    beta_1_power = tf.pow(beta_1, step)
    beta_2_power = tf.pow(beta_2, step)
    # Once for all variables, where Keras does it for each.
    corrected_rate = rate * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)

    def update(gradient: Tensor, variable: tf.Variable) -> None:
        m = _slot_variable(optimizer, optimizer._momentums, variable)
        v = _slot_variable(optimizer, optimizer._velocities, variable)
        if not _is_better_whole(variable):
            m.assign_add((gradient - m) * (1 - optimizer.beta_1))
            v.assign_add((tf.square(gradient) - v) * (1 - optimizer.beta_2))
            root = tf.sqrt(v) + optimizer.epsilon
            variable.assign_sub(m * corrected_rate / root)
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


def _slot_variable(
    optimizer: Any, slots: list, variable: tf.Variable
) -> tf.Variable:
    index = optimizer._get_variable_index(variable)
    return slots[index].value


_UPDATES: dict[type, Callable[[Any, Tensor], Update]] = {
    keras.optimizers.SGD: _make_sgd,
    keras.optimizers.Adam: _make_adam,
    keras.optimizers.AdamW: _make_adam,
}
