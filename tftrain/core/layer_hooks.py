"""Layers whose calls are looked at, from outside of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def all_layers(model: Any) -> list:
    """Every layer of a model, itself included, once."""
    return list({id(layer): layer for layer in model._flatten_layers()}.values())


@contextmanager
def patched_attribute(
    layers: Iterable, hook: Callable[[Any], Callable], name: str = "call"
) -> Iterator[None]:
    """While it lasts, an attribute of each layer, its `call` as a rule, is what `hook(layer)` gives."""
    layers = list(layers)
    originals = {layer: vars(layer).get(name) for layer in layers}
    for layer in layers:
        vars(layer)[name] = hook(layer)
    try:
        yield
    finally:
        for layer, original in originals.items():
            vars(layer).pop(name)
            vars(layer).update({} if original is None else {name: original})
