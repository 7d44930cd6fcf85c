"""What a config asks for that only the assembled run can tell to be impossible."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras

from tftrain.config import Config
from tftrain.core.compiled import obstacle
from tftrain.core.parameters import unknown_to_keras
from tftrain.core.types import Batch
from tftrain.errors import InputError
from tftrain.names import listed
from tftrain.strict import problem


def expect_within(config: Config, steps: int) -> None:
    """The window of the profile lies within the run."""
    window, path = config.log.profile, "log.profile"
    if window and window[1] > steps:
        message = f"given {list(window)}, but the run ends with step {steps}; expected two steps up to that one"
        raise InputError(problem(config.place(path), path, message))


def tell_unknown(model: keras.Model) -> None:
    """Warn of what the model keeps in a way that Keras does not see."""
    held = listed(unknown_to_keras(model))
    if held:
        warnings.warn(
            f"the model holds variables that Keras neither trains nor saves, so a resumed run has new ones: {held}; "
            "make weights by add_weight, of numbers that do not train with trainable=False, and random numbers by a "
            "keras.random.SeedGenerator",
            stacklevel=2,
        )


def expect_compilable(config: Config, compiled: Iterable[Any], sample: Batch) -> None:
    """The steps that XLA is to compile can be."""
    for step in compiled:
        why = obstacle(step, sample)
        if why:
            path = "training.jit_compile"
            raise InputError(problem(config.place(path), path, f"given true, but this step cannot be compiled: {why}"))
