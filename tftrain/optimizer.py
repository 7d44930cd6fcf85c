"""The optimizer of a config, with its rate and with the parameters that are trained in their own way."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from tftrain.core.parameters import Names
from tftrain.core.types import Rate
from tftrain.core.update import Shares
from tftrain.errors import InputError, blamed_on
from tftrain.parts import Part, own_parts
from tftrain.rates import as_rate
from tftrain.selection import selected
from tftrain.strict import problem
from tftrain.trials import try_rate


class Optimizer(NamedTuple):
    """What changes the parameters: Keras' optimizer, whose own rate the step sets every time."""

    keras: Any
    rate: Rate
    shares: list[Shares]


def freeze(part: Part, variables: Sequence[Any], names: Names) -> None:
    """Take the frozen groups out of training; raises InputError where a pattern is in no name."""
    frozen = {
        index: group.frozen
        for number, group in enumerate(part.option("groups") or ())
        for index in selected(part, f"optimizer.groups.{number}.only", group.only, names)
    }
    if sum(frozen.values()) == len(variables):
        raise InputError(
            problem(part.place, "optimizer.groups", "they freeze every parameter: nothing is left to train")
        )
    for index, is_frozen in frozen.items():
        variables[index].trainable = not is_frozen


def open_optimizer(part: Part, names: Names, steps_per_epoch: int) -> Optimizer:
    """The optimizer for the parameters that are trained; raises InputError or UserCodeError."""
    part = part.with_steps(steps_per_epoch)
    with blamed_on(part, "optimizer"):
        shares = _shares(part, names)
        given = dict(part.given)
        chosen = part.arguments.get("learning_rate")
        if chosen is not None:
            given["learning_rate"] = 1.0
        if any(share.weight_decay is not None for share in shares):
            given["weight_decay"] = 0.0  # the step does it, parameter by parameter
        optimizer = dataclasses.replace(part, given=given).build()
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(f"gave a {type(optimizer).__name__}; expected a keras.optimizers.Optimizer")
        if given.get("weight_decay") == 0.0:
            optimizer.weight_decay = None
    rate = _rate(chosen) if isinstance(chosen, Part) else optimizer.learning_rate if chosen is None else chosen
    return Optimizer(optimizer, as_rate(rate), shares)


def _rate(part: Part) -> Rate:
    """The rate of a schedule, in which those of the user's own are tried first, the innermost at the beginning."""
    for own in reversed(own_parts(part)):
        if own.kind == "schedule":
            with blamed_on(own, own.path):
                try_rate(own.build())
    with blamed_on(part, part.path):
        return as_rate(part.build())


def _shares(part: Part, names: Names) -> list[Shares]:
    """What applies to each parameter that is trained; of two groups that match, the later one counts."""
    groups, only = part.option("groups") or (), part.option("weight_decay_only")
    decay = part.arguments.get("weight_decay")
    if only is None and not any(group.weight_decay is not None for group in groups):
        decay = None  # all parameters alike: that is Keras' own
    decayed = selected(part, "optimizer.weight_decay_only", only, names)
    found = [Shares(1.0, decay if decay is None or index in decayed else 0.0) for index in range(len(names.trained))]
    for group in groups:
        for index, name in enumerate(names.trained):
            if re.search(group.only, name):
                own = found[index].weight_decay if group.weight_decay is None else group.weight_decay
                found[index] = Shares(group.rate, own)
    return found
