"""Initial weights that differ from layer to layer."""

from __future__ import annotations

from typing import Any

import keras


def fresh(initializer: Any) -> Any:
    """A copy for one more layer: Keras gives every use of one unseeded initializer object the same values."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer  # a name: Keras makes a new object of it for every layer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        return initializer  # the user fixed the seed
    return type(initializer).from_config(config | ({"seed": None} if "seed" in config else {}))
