"""Initial weights that differ from layer to layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tftrain.core.types import Tree


def clone_initializer(initializer: Any) -> Any:
    """A copy for one more layer: Keras gives every use of one unseeded initializer object the same values."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer  # a name: Keras makes a new object of it for every layer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        return initializer  # the user fixed the seed
    return type(initializer).from_config(
        config | ({"seed": None} if "seed" in config else {})
    )


def require_single_input(input_shape: Tree) -> None:
    """Raises ValueError where an example is several arrays."""
    if isinstance(input_shape, Mapping):
        has = ", ".join(f"'{key}'" for key in input_shape)
        raise ValueError(
            f"takes one array, and x of an example is a dict of {has}; give a model of your own"
        )
