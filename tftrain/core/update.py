"""How gradients become new parameters: the optimizer, with rates, weight decay and averages of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tftrain.core.core_variables import FIRST
from tftrain.core.fused import fused
from tftrain.core.replication import summed
from tftrain.core.sparse import Gradient
from tftrain.core.types import Tensor


class Shares(NamedTuple):
    """What applies to one parameter alone: a multiple of the rate, and its weight decay, where Keras does none."""

    rate: float = 1.0
    weight_decay: float | None = None


def apply(
    optimizer: Any, grads: Sequence[Gradient], variables: Sequence[Any], rate: Tensor, shares: Sequence[Shares]
) -> None:
    """Change the parameters by one update.

    Weight decay is decoupled (Loshchilov & Hutter, 2019): it shrinks a parameter by rate * decay, before the update, as
    Keras does. A parameter with a multiple of the rate is trained as by an optimizer of its own with that rate. (To
    scale the change would not do: not every update is proportional to its rate. That of Ftrl is not, and schedule-free
    AdamW averages over its steps.) With a multiple of 0 it is not updated. A variable's constraint comes last.
    """
    for variable, share in zip(variables, shares, strict=True):
        if share.weight_decay:
            decay = share.rate * share.weight_decay
            variable.value.assign_sub(variable.value * (rate * decay))
    optimizer.learning_rate.assign(rate)
    multiples = [share.rate for share in shares]
    if set(multiples) != {1.0}:
        _set_multiples(optimizer, multiples)
    with summed(optimizer), fused(optimizer, rate, multiples):
        optimizer.apply(list(grads), list(variables))


def _set_multiples(optimizer: Any, multiples: Sequence[float]) -> None:
    """From now on the optimizer trains each parameter at its multiple of the rate; to say so again changes nothing.

    For good, and not only around an update: several replicas have one optimizer, and none of them ends first.
    """
    kind = type(optimizer)

    def multiple_of(variable: Any) -> float:
        return multiples[optimizer._get_variable_index(variable)]

    def update_step(gradient: Gradient, variable: Any, learning_rate: Any) -> None:
        multiple = multiple_of(variable)
        if multiple:
            kind.update_step(optimizer, gradient, variable, learning_rate * multiple)

    def apply_weight_decay(variables: Sequence[Any]) -> None:
        rate = optimizer.learning_rate.value.read_value()
        for multiple in sorted(set(multiples)):
            optimizer.learning_rate.assign(rate * multiple)  # Keras takes it from there
            members = [variable for variable in variables if multiple_of(variable) == multiple]
            kind._apply_weight_decay(optimizer, members)
        optimizer.learning_rate.assign(rate)

    vars(optimizer).update(update_step=update_step, _apply_weight_decay=apply_weight_decay)


class Averages:
    """Exponential moving averages of the parameters, one step for each update (Polyak & Juditsky, 1992)."""

    def __init__(self, params: Sequence[tf.Variable], decay: float):
        self._params, self._decay = list(params), decay
        self.variables = [tf.Variable(param.read_value(), name="average", **FIRST) for param in params]

    def advance(self) -> None:
        for average, param in zip(self.variables, self._params, strict=True):
            average.assign_sub((1 - self._decay) * (average.read_value() - param.read_value()))

    def swap(self) -> None:
        """Exchange the parameters with their averages; a second call puts them back, bit for bit."""
        for average, param in zip(self.variables, self._params, strict=True):
            kept = tf.identity(param.read_value())
            param.assign(average.read_value())
            average.assign(kept)
