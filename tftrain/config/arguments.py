"""The arguments a config may give a part: its signature, less what is the house's, plus what Keras leaves unsaid."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NamedTuple

from tftrain.config import field_types, signature
from tftrain.config.conversion import MISMATCH, convert
from tftrain.config.field_types import Range, part_kind
from tftrain.config.registry import COMPONENT_KINDS
from tftrain.config.signature import OPAQUE_DEFAULT, REQUIRED, Argument
from tftrain.config.yaml_parser import Node, SourceLocation


class Arguments(NamedTuple):
    """What a config may give, what the house gives, and what is refused with the better way to say it."""

    given: dict[str, Argument]
    house: tuple[str, ...]
    refused: dict[str, str]
    kind: str  # "class" or "function"
    summary: str
    options: tuple[
        str, ...
    ] = ()  # those of `given` that are of the kind; the part is not called with them


def _instead(clip: str) -> str:
    return f"the train step clips, once replicas are averaged; write gradients: {{clip: {{name: {clip}, limit: ...}}}}"


def _instead_of(section: str) -> str:
    return f"the train step does this, at its right place; write {section}"


_AVERAGE = _instead_of("training: {ema: ...}")
_REFUSED = {
    "optimizer": {
        "clipnorm": _instead("norm"),
        "global_clipnorm": _instead("global_norm"),
        "clipvalue": _instead("value"),
        "use_ema": _AVERAGE,
        "ema_momentum": _AVERAGE,
        "ema_overwrite_frequency": _AVERAGE,
        "loss_scale_factor": _instead_of(
            "training: {precision: mixed_float16}"
        ),
        "gradient_accumulation_steps": _instead_of(
            "gradients: {accumulate_steps: ...}"
        ),
    },
    "metric": {
        "from_logits": "metrics are given probabilities, whatever the model gives; leave it out"
    },
}
_HIDDEN = {"name", "dtype", "kwargs", "backend", "data_format"}
_KERAS_HINTS = {
    "learning_rate": field_types.LearningRate,
    "initial_learning_rate": field_types.NonNegativeFloat,
    "end_learning_rate": field_types.NonNegativeFloat,
    "warmup_target": field_types.NonNegativeFloat | None,
    "decay_steps": field_types.Duration,
    "first_decay_steps": field_types.Duration,
    "warmup_steps": field_types.NonNegativeInt | field_types.Duration,
    "decay_rate": float,
    "staircase": bool,
    "boundaries": list[field_types.Duration],
    "values": list[field_types.NonNegativeFloat],
    "weight_decay": field_types.NonNegativeFloat | None,
    "beta_1": field_types.Share,
    "beta_2": field_types.Share,
    "momentum": field_types.Fraction,
    "rho": field_types.Fraction,
    "epsilon": field_types.NonNegativeFloat,
    "label_smoothing": field_types.Fraction,
    "from_logits": field_types.FromLogits,
    "reduction": Literal[
        "sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"
    ],
    "ignore_class": int | None,
    "units": field_types.PositiveInt,
    "filters": field_types.PositiveInt,
    "kernel_size": field_types.PositiveInt | list[field_types.PositiveInt],
    "strides": field_types.PositiveInt | list[field_types.PositiveInt] | None,
    "pool_size": field_types.PositiveInt | list[field_types.PositiveInt],
    "dropout": field_types.Fraction,
    "recurrent_dropout": field_types.Fraction,
    "input_dim": field_types.PositiveInt,
    "output_dim": field_types.PositiveInt,
    "seed": int | None,
}
_LAYER_HINTS = {
    "layer": field_types.Layer,
    "backward_layer": field_types.Layer,
    "cell": field_types.Layer | list[field_types.Layer],
    "cells": list[field_types.Layer],
    "layers": list[field_types.Layer],
}
# Where Keras says no more than by a default of 1 or so, any number will do, but for what counts and what names axes.
_WHOLE = {
    "bins",
    "chain_depth",
    "depth_multiplier",
    "fft_length",
    "frame_length",
    "groups",
    "k",
    "ns_steps",
}
_WHOLE |= {"oov_token", "power_iterations", "sampling_rate", "sequence_stride"}
_WHOLE_OR_SEVERAL = {"axis", "dilation_rate", "padding", "size"}
_DROPOUT_RATE = Annotated[float, Range(0, 1, below=True)]
_PART_SUFFIXES = {
    "activation": field_types.Activation,
    "initializer": field_types.Initializer,
    "regularizer": field_types.Regularizer,
    "constraint": field_types.Constraint,
}


@functools.cache
def arguments_of(kind: str, target: str) -> Arguments:
    """What a config may write beside `name:` of a part; raises PartError where the target leads nowhere."""
    read = signature.read_signature(target)
    entry, keras = COMPONENT_KINDS[kind], target.startswith("keras.")
    skip = entry.skip if read.kind == "function" else 0
    if kind in ("loss", "metric") and takes_targets(target):
        skip = 2
    if kind == "schedule" and takes_step(target):
        skip = 1
    accepted, injected = {}, []
    for argument in read.arguments[skip:]:
        if argument.name in entry.house and argument.keyword_only:
            injected.append(argument.name)
        elif argument.name != "name" and not (
            keras and argument.name in _HIDDEN
        ):  # `name:` chooses the part
            accepted[argument.name] = _taking_default(
                _sharpened(argument, kind, keras)
            )
    refused = (
        _REFUSED.get(kind, {}) if keras or kind == "optimizer" else {}
    )  # users' optimizers inherit from Keras'
    accepted = {
        name: argument_
        for name, argument_ in accepted.items()
        if name not in refused
    }
    options = {
        name: Argument(name, hint, None)
        for name, hint in entry.options.items()
        if name not in accepted
    }
    return Arguments(
        accepted | options,
        tuple(injected),
        refused,
        read.kind,
        read.summary,
        tuple(options),
    )


def takes_targets(target: str) -> bool:
    """Whether the target is a plain function (y_true, y_pred, ...), as Keras users write losses and metrics."""
    read = signature.read_signature(target)
    return read.kind == "function" and [
        argument.name for argument in read.arguments[:2]
    ] == [
        "y_true",
        "y_pred",
    ]


def takes_step(target: str) -> bool:
    """Whether the target is a plain function (step, ...), as a user may write a learning rate."""
    read = signature.read_signature(target)
    return read.kind == "function" and [
        argument.name for argument in read.arguments[:1]
    ] == ["step"]


def _sharpened(argument: Argument, kind: str, keras: bool) -> Argument:
    """The argument with the best annotation there is: its own, else what its name or its default tells."""
    name, default = argument.name, argument.default
    if kind == "optimizer" and name == "learning_rate" and not keras:
        return argument._replace(hint=_with_schedules(argument))
    if keras and name == "from_logits" and kind == "loss":
        return argument._replace(hint=field_types.FromLogits, default="auto")
    if argument.hint is not Any:
        return argument
    if keras and kind == "layer" and name in _LAYER_HINTS:
        hint = _LAYER_HINTS[name]
        return argument._replace(
            hint=hint if default is REQUIRED else hint | None
        )
    part = _PART_SUFFIXES.get(name.rpartition("_")[2])
    if part is not None:
        return argument._replace(
            hint=part if default is REQUIRED else part | None
        )
    if keras:
        hint = (
            _DROPOUT_RATE
            if kind == "layer" and name == "rate"
            else _KERAS_HINTS.get(name, Any)
        )
        if hint is not Any:
            return argument._replace(
                hint=hint | None if default is None else hint
            )
    if keras and type(default) is int:
        return argument._replace(hint=_whole_or_real(name))
    return argument._replace(hint=_from_default(default))


def _with_schedules(argument: Argument) -> Any:
    """The annotation of a user's optimizer's rate, which may be a schedule: the step sets the rate, whatever it is."""
    if argument.hint is Any:
        return (
            field_types.LearningRate | None
            if argument.default is None
            else field_types.LearningRate
        )
    return argument.hint | field_types.Schedule


def _whole_or_real(name: str) -> Any:
    if name in _WHOLE_OR_SEVERAL:
        return int | list[int] | None if name == "axis" else int | list[int]
    return int if name in _WHOLE or name.startswith("num_") else int | float


def _taking_default(argument: Argument) -> Argument:
    """The argument with an annotation that its own default fits, so that a config with every default can be read."""
    default, hint = argument.default, argument.hint
    if (
        default is REQUIRED
        or default is OPAQUE_DEFAULT
        or isinstance(default, (list, dict, str))
        and part_kind(hint)
    ):
        return argument
    if isinstance(default, (list, dict)):
        return argument
    converted = convert(Node(default, SourceLocation("")), hint)
    if converted is not MISMATCH:
        return argument._replace(default=converted)
    if default is None:
        return argument._replace(hint=hint | None)
    return argument._replace(hint=hint | Literal[default])


def _from_default(default: Any) -> Any:
    if (
        default is REQUIRED
        or default is OPAQUE_DEFAULT
        or default is None
        or isinstance(default, (list, dict))
    ):
        return Any
    if type(default) is int:
        return int | float  # a user's `rate=0` may well mean a real number
    return (
        str | None if isinstance(default, str) else type(default)
    )  # such as `weights="imagenet"`
