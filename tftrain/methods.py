"""The gradient method of a config, within what precision and micro-batches put around it."""

from __future__ import annotations

from typing import Any

import keras

from tftrain import losses
from tftrain.config import Config
from tftrain.core import replicas
from tftrain.core.objective import KerasObjective
from tftrain.core.scale import LossScale
from tftrain.core.types import Batch, GradientMethod
from tftrain.errors import InputError, blamed_on
from tftrain.gradients.microbatched import microbatched
from tftrain.gradients.scaled import loss_scaled
from tftrain.strict import problem
from tftrain.trials import try_method


def open_method(
    config: Config, objective: KerasObjective, sample: Batch, loss_scale: LossScale | None
) -> GradientMethod:
    """The method, a user's own tried on a sample; raises InputError or UserCodeError."""
    part, pieces = config.gradients.method, config.gradients.accumulate
    _refuse_joined_pieces(config, objective.model)
    with blamed_on(part, part.path):
        method = part.build()
        if not part.target.startswith("tftrain."):
            try_method(method, objective, sample)
    if loss_scale is not None:
        method = loss_scaled(method, loss_scale.value)
    _refuse_sums(config, objective.loss)
    return microbatched(method, pieces) if pieces > 1 else method


def _refuse_sums(config: Config, loss: Any) -> None:
    """A loss that is not a mean cannot be put together from pieces of a batch."""
    spread = config.gradients.accumulate > 1 or config.training.strategy in ("mirrored", "multi_worker", "tpu")
    if spread and getattr(loss, "reduction", None) not in losses.MEANS:
        where = "gradients.accumulate" if config.gradients.accumulate > 1 else "training.strategy"
        raise InputError(
            problem(
                config.loss.place,
                "loss.reduction",
                f"'{loss.reduction}' does not go with {where}: pieces of a batch are averaged; "
                f"expected {', '.join(losses.MEANS)}",
            )
        )


def _refuse_joined_pieces(config: Config, model: keras.Model) -> None:
    joining = [layer.name for layer in model._flatten_layers() if getattr(layer, "synchronized", False)]
    if joining and config.gradients.accumulate > 1 and replicas.count() > 1:
        path = "gradients.accumulate"
        message = (
            f"{config.gradients.accumulate} does not go with synchronized batch normalization on several devices "
            f"({', '.join(joining)}), which cut their shares into pieces each; leave out one of them"
        )
        raise InputError(problem(config.place(path), path, message))
