"""What TensorFlow raises during training, as errors that say where and in which component."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf

from tftrain.config.component import user_components, user_components_note
from tftrain.config.error_context import raised_within
from tftrain.config.schema import Config
from tftrain.runtime.errors import TrainingError
from tftrain.runtime.tf_errors import short_message


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
    return TrainingError(f"TensorFlow failed {where}: {message} ({saved}){note}")


@contextmanager
def attributing_errors(config: Config, where: Callable[[], str]) -> Iterator[None]:
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
