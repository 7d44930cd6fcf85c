"""Checks of a built model and step, before anything is written: what a run would ignore, and what nobody prepared."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tftrain.config.protocols import ComponentLike
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core.execution import xla_obstacle
from tftrain.core.layer_hooks import all_layers
from tftrain.core.types import (
    Batch,
)
from tftrain.core.variables import untracked_variables
from tftrain.runtime.errors import InputError
from tftrain.runtime.names import join_names

# Methods of a keras.Model that `fit` and `evaluate` call and a run does not, with what to write in their place.
_TRAINING = {
    "train_step": "write its loss as loss: module:function, and what it adds to that by self.add_loss in call",
    "test_step": "write what it measures as metrics: [module:function]",
    "compute_loss": "write it as loss: module:function, and what needs more than targets and outputs by self.add_loss "
    "in call",
    "compute_metrics": "write what it measures as metrics: [module:function]",
    "make_train_function": "write its loss as loss: module:function",
    "make_test_function": "write what it measures as metrics: [module:function]",
    "fit": "write its loss as loss: module:function",
    "evaluate": "write what it measures as metrics: [module:function]",
}
_SCOPE = re.compile(r"[A-Za-z0-9_.\\/>-]*")
_ROOT_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_LOOKUPS = (
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


def expect_plain_training(part: ComponentLike, model: keras.Model) -> None:
    """Refuse a model with training code of its own, which a run would ignore.

    Of a saved model that was compiled a line is told instead, for that is how Keras saves what it trained.

    Args:
        part: the model of the config.
        model: just built.
    """
    for name, instead in _TRAINING.items():
        if name in vars(model) or getattr(type(model), name) is not getattr(
            keras.Model, name
        ):
            message = f"{part.name} has a {name} of its own, which is not called here; {instead}, and leave {name} out"
            raise InputError(format_error(part.place, "model", message))
    if not model.compiled:
        return
    if (
        model.loss is None
        or part.target == "tftrain.models.serialization:load_saved_model"
    ):
        compiled_with = [
            name
            for name in ("loss", "optimizer", "metrics")
            if (model.get_compile_config() or {}).get(name)
        ]
        warnings.warn(
            f"the model comes compiled with {', '.join(compiled_with)}, which are not used here: "
            "those of the config are",
            stacklevel=2,
        )
        return
    raise InputError(
        format_error(
            part.place,
            "model",
            f"{part.name} gives a model that was compiled with a loss (compile(loss=...)), which is not used here; "
            "write loss, optimizer and metrics in the config, and leave compile out, or load the model with "
            "compile=False",
        )
    )


def expect_scopes(part: ComponentLike, model: keras.Model) -> None:
    """Refuse names of the model and its layers that TensorFlow cannot use in a graph.

    Args:
        part: the model of the config.
        model: just built.
    """
    for layer in all_layers(model):
        pattern = _ROOT_SCOPE if layer is model else _SCOPE
        if not pattern.fullmatch(layer.name):
            what = (
                "model" if layer is model else f"layer ({type(layer).__name__})"
            )
            message = f"its {what} has the name '{layer.name}', which TensorFlow does not take; expected a name of "
            message += "letters from A to z, digits, '_', '-' and '.', that begins with a letter or digit"
            raise InputError(format_error(part.place, "model", message))


def expect_adapted(part: ComponentLike, model: keras.Model) -> None:
    """Refuse layers that should have learned from data by `adapt`, and have not.

    Args:
        part: the model of the config.
        model: just built.
    """
    for layer in all_layers(model):
        missing = _not_adapted(layer)
        if missing:
            message = (
                f"its layer '{layer.name}' ({type(layer).__name__}) {missing}"
            )
            raise InputError(format_error(part.place, "model", message))


def _not_adapted(layer: Any) -> str | None:
    """What a preprocessing layer lacks, and where it comes from; None where it lacks nothing."""
    where = "call its adapt(x) where the model is made"
    if isinstance(layer, keras.layers.Normalization):
        if layer.input_mean is not None:
            return None
        # What adapts a layer builds it, and one that is built anew moves nothing.
        is_identity = (
            not layer.built
            or not np.any(layer.adapt_mean)
            and np.all(np.equal(layer.adapt_variance, 1))
        )
        problem = f"was never adapted, so it changes nothing; {where}, give it mean and variance, or write data: "
        return (
            problem + "{preprocess: standardize} in its place"
            if is_identity
            else None
        )
    if isinstance(layer, keras.layers.Discretization):
        return (
            None
            if layer.bin_boundaries
            else f"was never adapted; {where}, or give it bin_boundaries"
        )
    if isinstance(layer, _LOOKUPS):
        lookup = getattr(layer, "_lookup_layer", layer)
        fixed = len(lookup.get_vocabulary(include_special_tokens=True)) - len(
            lookup.get_vocabulary(False)
        )
        is_empty = lookup.vocabulary_size() <= fixed
        return (
            f"was never adapted, so it knows no word; {where}, or give it a vocabulary"
            if is_empty
            else None
        )
    return None


def check_profile_window(config: Config, steps: int) -> None:
    """Refuse a profile of steps that the run does not have.

    Args:
        config: that of the run.
        steps: how many it has.
    """
    window, path = config.log.profile, "log.profile"
    if window and window[1] > steps:
        message = f"given {list(window)}, but the run ends with step {steps}; expected two steps up to that one"
        raise InputError(format_error(config.place(path), path, message))


def warn_untracked_variables(model: keras.Model) -> None:
    """Warn of what the model keeps in a way that Keras does not see."""
    held = join_names(untracked_variables(model))
    if held:
        warnings.warn(
            f"the model holds variables that Keras neither trains nor saves, so a resumed run has new ones: {held}; "
            "make weights by add_weight, of numbers that do not train with trainable=False, and random numbers by a "
            "keras.random.SeedGenerator",
            stacklevel=2,
        )


def expect_compilable(
    config: Config, compiled: Iterable[Any], sample: Batch
) -> None:
    """Refuse steps that XLA cannot compile.

    Args:
        config: that of the run.
        compiled: the steps.
        sample: of the data.
    """
    for step in compiled:
        why = xla_obstacle(step, sample)
        if why:
            path = "training.jit_compile"
            raise InputError(
                format_error(
                    config.place(path),
                    path,
                    f"given true, but this step cannot be compiled: {why}",
                )
            )
