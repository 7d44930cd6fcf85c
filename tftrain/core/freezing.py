"""Layers that a run leaves as they are, which is no property of the model that it saves."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tftrain.core.layer_hooks import freeze_layer, patched_attribute

_frozen: weakref.WeakKeyDictionary[Any, list] = (
    weakref.WeakKeyDictionary()
)  # by model


def freeze_layers(model: Any) -> None:
    """Freeze each layer whose parameters are all frozen, with those inside of it, as `layer.trainable = False` does.

    Batch normalization is then in inference mode: it normalizes by its moving averages, and leaves them alone.
    """
    changed = []
    for layer in model._flatten_layers(include_self=False):
        members = layer._flatten_layers()
        params = [
            param for member in members for param in member._trainable_variables
        ]
        if params and not any(param.trainable for param in params):
            changed += [member for member in members if member.trainable]
            freeze_layer(layer)
    _frozen[model] = changed


@contextmanager
def as_made(model: Any) -> Iterator[None]:
    """While it lasts, the layers that `freeze_layers` froze say that they can be trained, as they were made."""
    layers = _frozen.get(model, [])
    # Not by the setter, which would make the variables trainable too.
    with patched_attribute(layers, lambda _: True, "_trainable"):
        yield
