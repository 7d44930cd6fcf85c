"""The gradient of a config's model and loss, checked against differences of the loss, in float64."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import keras
import tensorflow as tf

from tftrain.config.error_context import error_context
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core.types import Batch, Objective
from tftrain.core.variables import parameter_names, preserve_state
from tftrain.diagnostics.downstream import layers_after
from tftrain.diagnostics.gradient_compare import compare
from tftrain.diagnostics.tables import gradient_check_table
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import open_objective
from tftrain.trainer.determinism_check import nondeterminism_message


class GradientCheck(NamedTuple):
    """`agrees` says that no gradient is wrong, and that there was one that could be compared."""

    text: str
    agrees: bool


def check_gradients(
    config: Config, samples: int, width: int | None = None
) -> GradientCheck:
    """Compare reverse mode with central differences on the first batch, at up to `samples` numbers of each parameter.

    Everything is in float64, in training mode, with one dropout mask for all passes. Names are cut where the text would
    be wider than `width`. Raises InputError, also for a loss that is not the same in equal passes, or UserCodeError.

    Args:
        config: that of the run.
        samples: elements of each parameter, at most.
        width: columns of the terminal; None for a file.
    """
    with _using_float64():
        data, objective = open_objective(
            replace(
                config, training=replace(config.training, precision="float64")
            )
        )
        names = parameter_names(objective.model)
        _expect_float64(config, names, objective.params)
        with error_context(config.data.source, "data"):
            batch = data.train.batch(data.train.serve(0, 1), tf.constant(0))
        with error_context(config.model, "model"):
            _expect_equal_losses(config, objective, batch)
            draw = (samples, config.training.seed)
            comparisons = compare(
                objective,
                batch,
                names,
                draw,
                functools.partial(preserve_state, objective.model),
            )
            wrong = [
                comparison.name
                for comparison in comparisons
                if not comparison.agrees
            ]
            suspects = layers_after(objective, batch, wrong) if wrong else None
    examples = tf.nest.flatten(batch.x)[0].shape[0]
    head = f"a batch of {examples}, float64; numbers of large parameters drawn by seed {config.training.seed}"
    agrees = not wrong and any(
        comparison.compared for comparison in comparisons
    )
    return GradientCheck(
        f"{head}\n\n{gradient_check_table(comparisons, suspects, width)}",
        agrees,
    )


@contextmanager
def _using_float64() -> Iterator[None]:
    """Losses and arrays made inside are in float64; a policy for layers alone would leave losses in float32."""
    previous_floatx, policy = (
        keras.config.floatx(),
        keras.config.dtype_policy(),
    )  # which is made of floatx when first asked for
    remapping = tf.config.optimizer.get_experimental_options().get(
        "remapping", True
    )
    keras.config.set_floatx("float64")
    # Fuses operations of other types, and of float64 does nothing but warn of each.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    try:
        yield
    finally:
        keras.config.set_floatx(previous_floatx)
        keras.config.set_dtype_policy(policy)
        tf.config.optimizer.set_experimental_options({"remapping": remapping})


def _expect_equal_losses(
    config: Config, objective: Objective, batch: Batch
) -> None:
    """Where they differ by themselves, differences say nothing of a gradient."""
    problem = nondeterminism_message(objective, batch)
    if problem:
        raise InputError(format_error(config.model.place, "model", problem))


def _expect_float64(
    config: Config, names: Sequence[str], params: Sequence[tf.Variable]
) -> None:
    for name, param in zip(names, params, strict=True):
        if param.dtype != tf.float64:
            message = f"{name} is in {param.dtype.name} by the model's own choice; gradients are checked in float64"
            raise InputError(format_error(config.model.place, "model", message))
