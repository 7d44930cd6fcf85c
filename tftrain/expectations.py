"""What a config asks for that only the assembled run can tell to be impossible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tftrain.config import Config
from tftrain.core.compiled import obstacle
from tftrain.core.types import Batch
from tftrain.errors import InputError
from tftrain.strict import problem


def expect_within(config: Config, steps: int) -> None:
    """The window of the profile lies within the run."""
    window, path = config.log.profile, "log.profile"
    if window and window[1] > steps:
        message = f"given {list(window)}, but the run ends with step {steps}; expected two steps up to that one"
        raise InputError(problem(config.place(path), path, message))


def expect_compilable(config: Config, compiled: Iterable[Any], sample: Batch) -> None:
    """The steps that XLA is to compile can be."""
    for step in compiled:
        why = obstacle(step, sample)
        if why:
            path = "training.jit_compile"
            raise InputError(problem(config.place(path), path, f"given true, but this step cannot be compiled: {why}"))
