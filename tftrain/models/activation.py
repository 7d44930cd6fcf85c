"""Activations with arguments, and users' own objects, made so that a saved model loads again."""

from __future__ import annotations

from typing import Any

import keras

from tftrain import signature


@keras.saving.register_keras_serializable(package="tftrain")
class Activation:
    """An activation function together with its arguments, such as leaky_relu with its slope."""

    def __init__(self, function: str, arguments: dict[str, Any]):
        self.function, self.arguments = function, arguments
        self.__name__ = function.rpartition(":")[2]
        self._call = signature.load(function)

    def __call__(self, x: Any) -> Any:
        return self._call(x, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        return {"function": self.function, "arguments": self.arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Activation:
        return cls(**config)


def register(found: Any) -> Any:
    """Make Keras able to write the user's function or class into a model file by its module and name."""
    if keras.saving.get_registered_name(found) == getattr(found, "__name__", None):
        keras.saving.register_keras_serializable(package=found.__module__)(found)
    return found
