"""What TensorFlow raises during training, as errors that say where and in which component."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from tftrain.config.component import user_components, user_components_note
from tftrain.config.error_context import raised_within
from tftrain.config.schema import Config
from tftrain.runtime.atomic_files import WriteError
from tftrain.runtime.errors import TrainingError
from tftrain.runtime.tf_errors import short_message
from tftrain.trainer.signals import Interrupted


def training_error(
    error: tf.errors.OpError, config: Config, where: str, saved: str
) -> TrainingError:
    """Return what to raise for an error of TensorFlow.

    Args:
        error: what it raised.
        config: that of the run.
        where: at which step.
        saved: which checkpoint is the last.
    """
    message = short_message(str(error))
    # There is no class for errors of XLA, such as a shape of its own or a lack of memory.
    if config.training.jit_compile and "xla" in str(error).lower():
        message += "; training.jit_compile: false does without XLA"
    note = user_components_note(config)
    return TrainingError(
        f"TensorFlow failed {where}: {message} ({saved}){note}"
    )


def unwritten_error(
    error: WriteError, folder: Path, step: int, saved: int | None
) -> TrainingError:
    """Return what to raise where a file of a run cannot be written.

    Args:
        error: which file, and why.
        folder: that of the run.
        step: the step the run is at.
        saved: the step of the last checkpoint; None before there is one.
    """
    if saved:
        start = f"at the last checkpoint, of step {saved}"
    else:
        start = "from the start, for there is no checkpoint"
    return TrainingError(
        f"at step {step} {error}; when that is mended, {resume_command(folder)} begins {start}"
    )


def interrupted_error(
    number: int, folder: Path, step: int, total_steps: int
) -> Interrupted:
    """Return what to raise after a signal, once the run is saved.

    Args:
        number: that of the signal.
        folder: that of the run.
        step: the step of the last checkpoint.
        total_steps: of the run.
    """
    command = resume_command(folder)
    return Interrupted(
        number,
        f"at step {step} of {total_steps}; saved, so that it can go on with {command}",
    )


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a run."""
    return f"python -m tftrain --resume --run-dir {shlex.quote(str(folder))}"


@contextmanager
def attributing_errors(
    config: Config, where: Callable[[], str]
) -> Iterator[None]:
    """Raise UserCodeError for errors in the block of functions of the user's that TensorFlow calls.

    Args:
        config: that of the run.
        where: returns at which step the run is.
    """
    try:
        yield
    except (tf.errors.OpError, TrainingError) as error:
        cause = error.__cause__ if isinstance(error, TrainingError) else error
        user_error = raised_within(cause, user_components(config), where())
        if user_error is None:
            raise
        raise user_error from error
