"""A function that was given arguments."""

from __future__ import annotations

from typing import Any

import keras

from tftrain import modules


@keras.saving.register_keras_serializable(package="tftrain")
class Activation:
    """A function together with its arguments, such as leaky_relu with its slope; also an initializer or a penalty."""

    def __init__(self, function: str, arguments: dict[str, Any]):
        self.function, self.arguments = function, arguments
        self.__name__ = function.rpartition(":")[2]
        self._call = modules.load(function)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._call(*given, **named, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        return {"function": self.function, "arguments": self.arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Activation:
        return cls(**config)
