"""The two ways in which TensorFlow runs the operations of a graph."""

from __future__ import annotations

import contextlib

import tensorflow as tf
from tensorflow.python.eager import context

DEFAULT = ""  # several threads take what is ready: better where operations are large
SERIAL = "SINGLE_THREADED_EXECUTOR"  # one after another, with no queue between them: better where they are small


def executed(executor: str) -> contextlib.AbstractContextManager:
    """While it lasts, this thread's graphs are run so; large operations use all cores either way."""
    return contextlib.nullcontext() if executor == DEFAULT else context.function_executor_type(executor)


def can_be_serial() -> bool:
    """Whether this process may choose: the serial executor knows neither several devices nor accelerators."""
    return not tf.distribute.has_strategy() and not tf.config.list_logical_devices("GPU")
