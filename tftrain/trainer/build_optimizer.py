"""The optimizer of a config, with its rate and with the parameters that are trained in their own way."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from tftrain.config import arguments
from tftrain.config.component import Component, rate_boundaries, user_components
from tftrain.config.error_context import error_context, with_error_context
from tftrain.config.field_types import unordered
from tftrain.config.importing import BUILTIN_PREFIXES
from tftrain.config.yaml_parser import format_error
from tftrain.core.layer_hooks import replace_attribute
from tftrain.core.types import Rate
from tftrain.core.update import ParamOptions
from tftrain.core.variables import Names
from tftrain.optim.schedules import as_rate
from tftrain.runtime.errors import InputError
from tftrain.trainer.parameter_groups import match_parameters
from tftrain.trainer.user_code import follows_rate, try_rate


class Optimizer(NamedTuple):
    """What changes the parameters: Keras' optimizer, whose own rate the step sets every time."""

    keras: Any
    rate: Rate
    shares: list[ParamOptions]


def freeze(part: Component, variables: Sequence[Any], names: Names) -> None:
    """Take the frozen groups out of training.

    Args:
        part: the optimizer.
        variables: the parameters.
        names: those of the parameters.
    """
    frozen = {
        index: group.frozen
        for number, group in enumerate(part.option("groups") or ())
        for index in match_parameters(
            part, f"optimizer.groups.{number}.only", group.only, names
        )
    }
    if sum(frozen.values()) == len(variables):
        raise InputError(
            format_error(
                part.place,
                "optimizer.groups",
                "they freeze every parameter: nothing is left to train",
            )
        )
    for index, is_frozen in frozen.items():
        variables[index].trainable = not is_frozen


def build_optimizer(
    part: Component, names: Names, steps_per_epoch: int
) -> Optimizer:
    """Build the optimizer for the parameters that are trained.

    Args:
        part: the optimizer of the config.
        names: those of the parameters.
        steps_per_epoch: of the training split.
    """
    part = part.with_steps(steps_per_epoch)
    chosen = part.arguments.get("learning_rate")
    with error_context(part, "optimizer"):
        build_arguments = part.given | (
            {"learning_rate": 1.0} if isinstance(chosen, Component) else {}
        )
        to_build = dataclasses.replace(part, given=build_arguments)
        optimizer = to_build.build()
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(
                f"gave a {type(optimizer).__name__}; expected a keras.optimizers.Optimizer"
            )
        _refuse_what_the_step_does(part, optimizer)
        shares = _parameter_options(part, names, optimizer)
        own_rate = _taken_rate(optimizer)
        if isinstance(chosen, Component) and own_rate != 1:
            _refuse_schedule(part, own_rate)
        _expect_own_rates(part, to_build.build, shares)
    _report_own_faults(part, optimizer)
    if isinstance(chosen, Component):
        rate = _build_rate(chosen)
    else:
        rate = as_rate(own_rate)
    return Optimizer(optimizer, rate, shares)


def _report_own_faults(part: Component, optimizer: Any) -> None:
    """Report a fault within a user's optimizer as one of the optimizer; it is called where the step is traced."""
    if part.target.startswith(BUILTIN_PREFIXES):
        return
    for name in ("build", "apply"):
        method = with_error_context(getattr(optimizer, name), part)
        replace_attribute(optimizer, name, method)


def _refuse_what_the_step_does(part: Component, optimizer: Any) -> None:
    """What a config is refused as an argument, an optimizer of the user's own may have been given in their code."""
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        message = f"{part.name} gave a MultiOptimizer, each of whose optimizers has a rate of its own; "
        message += "expected one of them"
        raise InputError(
            format_error(
                part.place,
                "optimizer",
                f"{message}, and groups for parameters with other rates",
            )
        )
    refused = arguments.arguments_of(part.kind, part.target).refused
    settings = [
        name
        for name in refused
        if name != "ema_momentum" and getattr(optimizer, name, None)
    ]
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        settings = ["loss_scale_factor"]
    if settings:
        message = f"{part.name} gave a {type(optimizer).__name__} with {settings[0]}, refused: {refused[settings[0]]}"
        raise InputError(format_error(part.place, "optimizer", message))


def _taken_rate(optimizer: Any) -> Any:
    """The optimizer's own rate, a number or a schedule; from here on it has a variable, which the step sets."""
    own_rate = optimizer._learning_rate
    if isinstance(own_rate, keras.Variable):
        return float(own_rate.numpy())
    rate = keras.Variable(
        0.0,
        trainable=False,
        name="learning_rate",
        aggregation="only_first_replica",
    )
    optimizer._learning_rate = rate
    optimizer._track_variable(rate)
    return (
        own_rate
        if isinstance(own_rate, keras.optimizers.schedules.LearningRateSchedule)
        else lambda step: own_rate()
    )


def _refuse_schedule(part: Component, own_rate: Any) -> None:
    """Of a user's optimizer that makes something else of its learning_rate, a schedule would be another one."""
    if callable(own_rate):
        problem = "holds a schedule of its own"
    else:
        problem = f"makes {own_rate:g} of a learning_rate of 1"
    message = (
        f"given a schedule, but {part.name} {problem}; expected a number, "
    )
    message += "or an optimizer that takes the rate as it is"
    raise InputError(
        format_error(part.place, "optimizer.learning_rate", message)
    )


def _expect_own_rates(
    part: Component, build: Callable[[], Any], shares: Sequence[ParamOptions]
) -> None:
    """Refuse groups with rates for an optimizer of the user's own that does not go by the rate that it is given."""
    multiples = sorted({share.rate for share in shares} - {0.0, 1.0})
    if not multiples or type(build()).__module__.startswith("keras."):
        return

    def fresh() -> Any:
        optimizer = build()
        _taken_rate(optimizer)
        return optimizer

    if not follows_rate(fresh, multiples[0]):
        message = (
            f"given rate: {multiples[0]:g}, but {part.name} gave a {type(fresh()).__name__}, whose update_step does "
            "not go by its argument learning_rate; expected one that does, or no rates of groups"
        )
        raise InputError(format_error(part.place, "optimizer.groups", message))


def _build_rate(part: Component) -> Rate:
    """The rate of a schedule, in which those of the user's own are tried first, the innermost at the beginning."""
    for path, boundaries in rate_boundaries(
        part, part.path
    ).items():  # all of them in steps by now
        if unordered(boundaries):
            raise InputError(
                format_error(part.place, path, unordered(boundaries))
            )
    for component in reversed(user_components(part)):
        if component.kind == "schedule":
            with error_context(component, component.path):
                try_rate(component.build())
    with error_context(part, part.path):
        return as_rate(part.build())


def _parameter_options(
    part: Component, names: Names, optimizer: Any
) -> list[ParamOptions]:
    """What applies to each parameter that is trained; of two groups that match, the later one counts.

    Where not all decay alike the step does it, parameter by parameter, and Keras' optimizer no longer.
    """
    groups, only, decay = (
        part.option("groups") or (),
        part.option("weight_decay_only"),
        optimizer.weight_decay,
    )
    apart = only is not None or any(
        group.weight_decay is not None for group in groups
    )
    if only is not None and decay is None:
        message = f"given '{only}', but there is no weight decay: {part.name} gave a {type(optimizer).__name__} without"
        raise InputError(
            format_error(part.place, "optimizer.weight_decay_only", message)
        )
    if apart:
        _end_decay(part, optimizer)
    decayed = match_parameters(part, "optimizer.weight_decay_only", only, names)
    options = [
        ParamOptions(
            1.0,
            (decay if index in decayed else 0.0)
            if apart and decay is not None
            else None,
        )
        for index in range(len(names.trained))
    ]
    for group in groups:
        for index, name in enumerate(names.trained):
            if re.search(group.only, name):
                own_decay = (
                    options[index].weight_decay
                    if group.weight_decay is None
                    else group.weight_decay
                )
                options[index] = ParamOptions(group.rate, own_decay)
    return options


def _end_decay(part: Component, optimizer: Any) -> None:
    second = getattr(
        optimizer, "adam_weight_decay", None
    )  # Muon's, of the parameters that it leaves to Adam
    if (
        part.given.get("adam_weight_decay") is not None
        and second != optimizer.weight_decay
    ):
        message = (
            f"given {second}, but where weight decay is told by patterns, weight_decay ({optimizer.weight_decay}) is "
            "that of all parameters; leave it out, and write groups: [{only: ..., weight_decay: ...}]"
        )
        raise InputError(
            format_error(part.place, "optimizer.adam_weight_decay", message)
        )
    for name in ("weight_decay", "adam_weight_decay"):
        if hasattr(optimizer, name):
            setattr(optimizer, name, None)
