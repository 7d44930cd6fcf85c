"""How gradients become new parameters: the optimizer, with rates, weight decay and averages of their own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tftrain.core.fused import fused
from tftrain.core.replicas import summed
from tftrain.core.sparse import Gradient
from tftrain.core.types import Tensor
from tftrain.core.variables import FIRST


class Shares(NamedTuple):
    """What applies to one parameter alone: a multiple of the rate, and its weight decay, where Keras does none."""

    rate: float = 1.0
    weight_decay: float | None = None


def apply(
    optimizer: Any, grads: Sequence[Gradient], variables: Sequence[Any], rate: Tensor, shares: Sequence[Shares]
) -> None:
    """Change the parameters by one update.

    Weight decay is decoupled (Loshchilov & Hutter, 2019): it shrinks a parameter by rate * decay, before the update, as
    Keras does. A multiple of the rate scales the whole change, which is the same for every optimizer whose update is
    proportional to its rate. A variable's constraint comes last.
    """
    own = [(variable, share) for variable, share in zip(variables, shares, strict=True) if share.rate != 1]
    before = [variable.value.read_value() for variable, _ in own]
    for variable, share in zip(variables, shares, strict=True):
        if share.weight_decay:
            variable.value.assign_sub(variable.value * (rate * share.weight_decay))
    optimizer.learning_rate.assign(rate)
    targets = [
        variable if share.rate == 1 else _bare(variable) for variable, share in zip(variables, shares, strict=True)
    ]
    with summed(optimizer), fused(optimizer, rate):
        optimizer.apply(list(grads), targets)
    for (variable, share), start in zip(own, before, strict=True):
        variable.value.assign(start + share.rate * (variable.value.read_value() - start))
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable))


def _bare(variable: Any) -> Any:
    """The same variable for Keras, which would constrain it before the change is scaled."""
    bare = copy.copy(variable)
    bare.constraint = None
    return bare


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
