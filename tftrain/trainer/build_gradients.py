"""The gradient method of a config, within what precision and micro-batches put around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import keras

from tftrain.config.error_context import InputError, blamed_on
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import problem
from tftrain.core import replication
from tftrain.core.ahead import is_mask_known_ahead
from tftrain.core.objective import KerasObjective
from tftrain.core.scale import LossScale
from tftrain.core.types import Batch, Carrying, GradientMethod, Tree
from tftrain.core.variables import parameter_names
from tftrain.models import losses
from tftrain.optim.gradients.accumulation import microbatched
from tftrain.optim.gradients.scaled import loss_scaled
from tftrain.trainer.user_code import shown, try_method, unequal

if TYPE_CHECKING:
    from tftrain.data.loader import Data

_MANY_PASSES = tuple(f"tftrain.optim.gradients.{name}:{name}" for name in ("numeric", "forward"))  # for one gradient


class Opened(NamedTuple):
    """A gradient method, and what it carries before the first step."""

    method: GradientMethod
    carry: Tree


def open_method(config: Config, objective: KerasObjective, data: Data, loss_scale: LossScale | None) -> Opened:
    """The method, a user's own tried on a sample; raises InputError or UserCodeError."""
    part, pieces = config.gradients.method, config.gradients.accumulate
    _refuse_joined(config, objective.model)
    _expect_equal_losses(config, objective, data)
    with blamed_on(part, part.path):
        rows = data.batch_size
        method = part.build(names=parameter_names(objective.model), model=objective.model, rows=rows)
        if not part.target.startswith("tftrain."):
            try_method(method, objective, data.sample)
    method, carry = method if isinstance(method, Carrying) else (method, ())
    if loss_scale is not None:
        method = loss_scaled(method, loss_scale.value)
    _expect_divisible(config, objective, data.sample)
    return Opened(microbatched(method, pieces) if pieces > 1 else method, carry)


def _expect_equal_losses(config: Config, objective: KerasObjective, data: Data) -> None:
    """Differences between passes of which each draws its own numbers would be those of the numbers."""
    part = config.gradients.method
    if part.target not in _MANY_PASSES:
        return
    with blamed_on(config.model, "model"):
        found = unequal(objective, data.sample)
    if found:
        raise InputError(problem(part.place, part.path, f"given {part.name}, but {found}"))


def _expect_divisible(config: Config, objective: KerasObjective, sample: Batch) -> None:
    """Refuse what cannot be put together from pieces of a batch, where there are such."""
    if config.gradients.accumulate == 1 and replication.count() == 1:
        return
    where = "gradients.accumulate" if config.gradients.accumulate > 1 else "training.strategy"
    loss = objective.loss
    reduction = getattr(loss, "reduction", None)
    if isinstance(loss, keras.losses.Loss) and reduction not in losses.REDUCTIONS:
        path, fault = "loss.reduction", f"'{reduction}' does not go with {where}"
        expected = ", ".join(losses.REDUCTIONS)
    elif objective.loss_rank is None:
        path, fault = "loss", f"{config.loss.name} gave {shown(loss)}, of which nobody knows how it adds up for {where}"
        expected = "a keras.losses.Loss, or a function (y_true, y_pred, ...) in place of what gives one"
    elif objective.loss_rank == 0:
        path, fault = "loss", f"{config.loss.name} gives no number for each example by itself, as {where} needs it"
        expected = "such numbers, [batch], in place of their mean or of what else joins the examples"
    elif objective.masks and not is_mask_known_ahead(objective, sample):
        path, fault = "loss", f"what counts in {config.loss.name} goes by what the model computes or draws in the pass"
        expected = f"a mask of the inputs and the targets alone, or no {where}, which needs to know it before"
    else:
        _expect_divisible_penalties(config, objective, where)
        return
    message = f"{fault}: pieces of a batch are put together; expected {expected}"
    raise InputError(problem(config.loss.place, path, message))


def _expect_divisible_penalties(config: Config, objective: KerasObjective, where: str) -> None:
    joining = [owner.layer.name for owner, kind in objective.penalties.items() if kind == "neither"]
    if joining:
        fault = f"what {joining[0]} adds to the loss is neither a mean nor a sum over the examples of a batch"
        expected = f"one of them, or no {where}, which puts the loss together from pieces"
        raise InputError(problem(config.model.place, "model", f"{fault}; expected {expected}"))


def _refuse_joined(config: Config, model: keras.Model) -> None:
    """What joins the devices in the middle of a pass goes with no method that does not walk in step on all of them."""
    joining = [layer.name for layer in model._flatten_layers() if getattr(layer, "synchronized", False)]
    if not joining or replication.count() == 1:
        return
    pieces, method = config.gradients.accumulate, config.gradients.method.name
    clash = "does not go with synchronized batch normalization on several devices"
    if pieces > 1:
        path, why = (
            "gradients.accumulate",
            f"{pieces} {clash} ({', '.join(joining)}), which cut their shares into pieces",
        )
    elif method in ("truncated_bptt", "rtrl", "numeric", "forward"):
        path, why = "gradients.method", f"{method} {clash} ({', '.join(joining)})"
    else:
        return
    raise InputError(problem(config.place(path), path, f"{why}; leave out one of them"))
