"""The gradient method of a config, within what precision and micro-batches put around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from tftrain.config.component import Component
from tftrain.config.error_context import error_context, with_error_context
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core import replication
from tftrain.core.ahead import is_mask_known_ahead
from tftrain.core.determinism import NotRepeatable
from tftrain.core.guards import LossScale
from tftrain.core.objective import KerasObjective
from tftrain.core.remat import RematSpec
from tftrain.core.remat_segments import find_segments
from tftrain.core.types import (
    Batch,
    GradientMethod,
    StatefulMethod,
    Transform,
    Tree,
)
from tftrain.core.variables import Names, parameter_names
from tftrain.models import losses
from tftrain.optim.gradients.accumulation import accumulated, loss_scaled
from tftrain.optim.gradients.method_traits import MethodTraits, traits_of
from tftrain.optim.transforms import chain, masked
from tftrain.runtime.errors import InputError
from tftrain.runtime.names import join_names
from tftrain.trainer.determinism_check import nondeterminism_message
from tftrain.trainer.parameter_groups import match_parameters
from tftrain.trainer.user_code import (
    describe_result,
    try_method,
    try_transform,
)

if TYPE_CHECKING:
    from tftrain.data.loader import Data


class Opened(NamedTuple):
    """A gradient method, and what it carries before the first step."""

    method: GradientMethod
    carry: Tree


def build_gradient_method(
    config: Config,
    objective: KerasObjective,
    data: Data,
    loss_scale: LossScale | None,
) -> Opened:
    """The method, a user's own tried on a sample; raises InputError or UserCodeError."""
    part, pieces = config.gradients.method, config.gradients.accumulate_steps
    _refuse_joined(config, objective.model)
    _expect_equal_losses(config, objective, data)
    with error_context(part, part.path):
        rows = data.batch_size
        method = part.build(
            names=parameter_names(objective.model),
            model=objective.model,
            rows=rows,
        )
        if not part.target.startswith("tftrain."):
            try_method(method, objective, data.sample)
    method, carry = (
        method if isinstance(method, StatefulMethod) else (method, ())
    )
    if loss_scale is not None:
        method = loss_scaled(method, loss_scale.value)
    _expect_divisible(config, objective, data.sample)
    return Opened(accumulated(method, pieces) if pieces > 1 else method, carry)


def _method_traits(config: Config) -> MethodTraits:
    part = config.gradients.method
    with error_context(part, part.path):
        return traits_of(part.function())


def _expect_equal_losses(
    config: Config, objective: KerasObjective, data: Data
) -> None:
    """Differences between passes of which each draws its own numbers would be those of the numbers."""
    part = config.gradients.method
    if not _method_traits(config).compares_passes:
        return
    with error_context(config.model, "model"):
        problem = nondeterminism_message(objective, data.sample)
    if problem:
        raise InputError(
            format_error(
                part.place, part.path, f"given {part.name}, but {problem}"
            )
        )


def _expect_divisible(
    config: Config, objective: KerasObjective, sample: Batch
) -> None:
    """Refuse what cannot be put together from pieces of a batch, where there are such."""
    if config.gradients.accumulate_steps == 1 and replication.count() == 1:
        return
    where = (
        "gradients.accumulate_steps"
        if config.gradients.accumulate_steps > 1
        else "training.strategy"
    )
    loss = objective.loss
    reduction = getattr(loss, "reduction", None)
    if (
        isinstance(loss, keras.losses.Loss)
        and reduction not in losses.REDUCTIONS
    ):
        path, fault = (
            "loss.reduction",
            f"'{reduction}' does not go with {where}",
        )
        expected = ", ".join(losses.REDUCTIONS)
    elif objective.loss_rank is None:
        path, fault = (
            "loss",
            f"{config.loss.name} gave {describe_result(loss)}, of which nobody knows how it adds up for {where}",
        )
        expected = "a keras.losses.Loss, or a function (y_true, y_pred, ...) in place of what gives one"
    elif objective.loss_rank == 0:
        path, fault = (
            "loss",
            f"{config.loss.name} gives no number for each example by itself, as {where} needs it",
        )
        expected = "such numbers, [batch], in place of their mean or of what else joins the examples"
    elif objective.masks and not is_mask_known_ahead(objective, sample):
        path, fault = (
            "loss",
            f"what counts in {config.loss.name} goes by what the model computes or draws in the pass",
        )
        expected = f"a mask of the inputs and the targets alone, or no {where}, which needs to know it before"
    else:
        _expect_divisible_penalties(config, objective, where)
        return
    message = (
        f"{fault}: pieces of a batch are put together; expected {expected}"
    )
    raise InputError(format_error(config.loss.place, path, message))


def _expect_divisible_penalties(
    config: Config, objective: KerasObjective, where: str
) -> None:
    joining = [
        owner.layer.name
        for owner, kind in objective.penalties.items()
        if kind == "neither"
    ]
    if joining:
        fault = f"what {joining[0]} adds to the loss is neither a mean nor a sum over the examples of a batch"
        expected = f"one of them, or no {where}, which puts the loss together from pieces"
        raise InputError(
            format_error(
                config.model.place, "model", f"{fault}; expected {expected}"
            )
        )


def _refuse_joined(config: Config, model: keras.Model) -> None:
    """What joins the devices in the middle of a pass goes with no method that does not walk in step on all of them."""
    joining = [
        layer.name
        for layer in model._flatten_layers()
        if getattr(layer, "synchronized", False)
    ]
    if not joining or replication.count() == 1:
        return
    pieces, method = (
        config.gradients.accumulate_steps,
        config.gradients.method.name,
    )
    clash = (
        "does not go with synchronized batch normalization on several devices"
    )
    if pieces > 1:
        path, why = (
            "gradients.accumulate_steps",
            f"{pieces} {clash} ({', '.join(joining)}), which cut their shares into pieces",
        )
    elif not _method_traits(config).synchronizes_passes:
        path, why = (
            "gradients.method",
            f"{method} {clash} ({', '.join(joining)})",
        )
    else:
        return
    raise InputError(
        format_error(config.place(path), path, f"{why}; leave out one of them")
    )


def build_clipping(
    clips: Sequence[Component], names: Names, params: Sequence[tf.Variable]
) -> Transform:
    """Return all clips as one transform.

    Args:
        clips: those of the config.
        names: those of the parameters.
        params: the parameters that are trained.
    """
    return chain(
        [
            (part.name.rpartition(":")[2], _build_clip(part, names, params))
            for part in clips
        ]
    )


def _build_clip(
    part: Component, names: Names, params: Sequence[tf.Variable]
) -> Transform:
    indices = match_parameters(
        part, f"{part.path}.only", part.option("only"), names
    )
    with error_context(part, part.path):
        transform = part.build(
            names=[names.trained[index] for index in indices]
        )
        if not part.target.startswith("tftrain."):
            try_transform(transform, [params[index] for index in indices])
    if not part.target.startswith("tftrain."):
        transform = transform._replace(
            update=with_error_context(transform.update, part)
        )
    return (
        transform if len(indices) == len(params) else masked(transform, indices)
    )


_PATH = "gradients.remat"


def build_remat(config: Config, model: keras.Model, carry: Tree) -> RematSpec:
    """Of a functional model stretches of its layers, or else the layers that a pattern finds; raises InputError."""
    setting, method = config.gradients.remat, config.gradients.method
    if setting is False:
        return RematSpec()
    if not _method_traits(config).has_backward_pass:
        raise _remat_error(
            config,
            f"{setting!r} does not go with the method {method.name}, which has no backward pass",
        )
    if carry:
        raise _remat_error(
            config,
            f"{setting!r} does not go with a step for each window, which holds few activations anyway",
        )
    if setting is not True:
        return RematSpec(
            _find_layers(config, setting, dict(_inner_layers(model)))
        )
    segments = find_segments(model)
    if segments is not None:
        return RematSpec(segments=[segments])
    blocks = [
        layer
        for layer in model._flatten_layers(include_self=False, recursive=False)
        if layer._layers
    ]
    if not blocks:
        layer_names = join_names([path for path, _ in _inner_layers(model)])
        message = f"true, but {model.name} is no functional model, and has no blocks of layers; expected a pattern that"
        raise _remat_error(
            config, f"{message} is found in names of its layers: {layer_names}"
        )
    return RematSpec(blocks)


@contextmanager
def reporting_nondeterminism(config: Config) -> Iterator[None]:
    """A layer that would not do the same again is told as the setting's fault, by InputError."""
    try:
        yield
    except NotRepeatable as error:
        raise _remat_error(
            config, f"{config.gradients.remat!r}, but {error}"
        ) from None


def _find_layers(config: Config, pattern: str, layers: dict[str, Any]) -> list:
    matches = {
        path: layer
        for path, layer in layers.items()
        if re.search(pattern, path)
    }
    if not matches:
        raise _remat_error(
            config,
            f"'{pattern}', which is in no layer's name; the names are {join_names(list(layers))}",
        )
    inner_ids = {
        id(inner)
        for layer in matches.values()
        for _, inner in _inner_layers(layer)
    }
    return list(
        {
            id(layer): layer
            for layer in matches.values()
            if id(layer) not in inner_ids
        }.values()
    )


def _inner_layers(layer: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The layers in a layer by path, but for what is called in a loop, over time steps."""
    if isinstance(layer, (keras.layers.RNN, keras.layers.TimeDistributed)):
        return
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if not isinstance(inner, keras.layers.InputLayer):
            yield above + inner.name, inner
        yield from _inner_layers(inner, f"{above}{inner.name}.")


def _remat_error(config: Config, message: str) -> InputError:
    return InputError(
        format_error(
            config.place(_PATH),
            _PATH,
            f"given {message}".replace("given True", "given true"),
        )
    )
