"""A function that was given arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras.src.saving.serialization_lib import (
    in_safe_mode,
)  # there is no public way to ask
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status

from tftrain.config import importing

_BUILT_IN = re.compile(
    r"keras\.(activations|initializers|regularizers|constraints):\w+"
)
_named: set[str] = (
    set()
)  # the functions that configs have named in this process


def trust_function(function: str) -> None:
    """Let saved models call this function, a dotted path, because a config names it."""
    _named.add(function)


@keras.saving.register_keras_serializable(package="tftrain", name="Activation")
class ConfiguredFunction:
    """A function together with its arguments, such as leaky_relu with its slope; also an initializer or a penalty."""

    def __init__(self, function: str, arguments: dict[str, Any]):
        self.function, self.arguments = function, arguments
        self.__name__ = function.rpartition(":")[2]
        self._call = importing.import_object(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        return {"function": self.function, "arguments": self.arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConfiguredFunction:
        """Raises ValueError for a function that a saved model alone names: it could be any in all of Python."""
        function = config["function"]
        if (
            in_safe_mode()
            and function not in _named
            and not _BUILT_IN.fullmatch(function)
        ):
            raise ValueError(
                f"it names the function '{function}', which no config names, so it is not called"
            )
        return cls(**config)


# The fields that run in the graph, of a Transform, a Rate, a Preprocess or a Probe.
_IN_RECORDS = ("update", "apply", "measure")


def with_autograph(part: Any) -> Any:
    """What a user's builder gave, with all that will run in the graph followed there; anything else as it is."""
    functions = {
        name: function
        for name in _IN_RECORDS
        if callable(function := getattr(part, name, None))
    }
    if isinstance(part, tuple) and functions:
        return part._replace(
            **{
                name: _followed(function)
                for name, function in functions.items()
            }
        )
    return _followed(part) if callable(part) else part


def _followed(function: Callable) -> Callable:
    converted = tf.__internal__.autograph.tf_convert(
        function, ControlStatusCtx(Status.ENABLED)
    )

    def call(*args: Any, **kwargs: Any) -> Any:
        return (converted if tf.inside_function() else function)(
            *args, **kwargs
        )

    return call
