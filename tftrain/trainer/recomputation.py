"""Which layers of a model compute their activations again in the backward pass, as a config says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tftrain.config.error_context import InputError
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import problem
from tftrain.core.determinism import Unrepeatable
from tftrain.core.remat import Blocks
from tftrain.core.remat_segments import segments_of
from tftrain.core.types import Tree
from tftrain.runtime.names import listed

_PATH = "gradients.recompute"
_NO_BACKWARD_PASS = tuple(f"tftrain.optim.gradients.{name}:{name}" for name in ("numeric", "forward", "rtrl"))


def open_blocks(config: Config, model: keras.Model, carry: Tree) -> Blocks:
    """Of a functional model stretches of its layers, or else the layers that a pattern finds; raises InputError."""
    wanted, method = config.gradients.recompute, config.gradients.method
    if wanted is False:
        return Blocks()
    if method.target in _NO_BACKWARD_PASS:
        raise _error(config, f"{wanted!r} does not go with the method {method.name}, which has no backward pass")
    if carry:
        raise _error(config, f"{wanted!r} does not go with a step for each window, which holds few activations anyway")
    if wanted is not True:
        return Blocks(_found(config, wanted, dict(_inner(model))))
    segments = segments_of(model)
    if segments is not None:
        return Blocks(segments=[segments])
    blocks = [layer for layer in model._flatten_layers(include_self=False, recursive=False) if layer._layers]
    if not blocks:
        found = listed([path for path, _ in _inner(model)])
        message = f"true, but {model.name} is no functional model, and has no blocks of layers; expected a pattern that"
        raise _error(config, f"{message} is found in names of its layers: {found}")
    return Blocks(blocks)


@contextmanager
def expect_repeatable(config: Config) -> Iterator[None]:
    """A layer that would not do the same again is told as the setting's fault, by InputError."""
    try:
        yield
    except Unrepeatable as error:
        raise _error(config, f"{config.gradients.recompute!r}, but {error}") from None


def _found(config: Config, pattern: str, layers: dict[str, Any]) -> list:
    found = {path: layer for path, layer in layers.items() if re.search(pattern, path)}
    if not found:
        raise _error(config, f"'{pattern}', which is in no layer's name; the names are {listed(list(layers))}")
    within = {id(inner) for layer in found.values() for _, inner in _inner(layer)}
    return list({id(layer): layer for layer in found.values() if id(layer) not in within}.values())


def _inner(layer: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The layers in a layer by path, but for what is called in a loop, over time steps."""
    if isinstance(layer, (keras.layers.RNN, keras.layers.TimeDistributed)):
        return
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if not isinstance(inner, keras.layers.InputLayer):
            yield above + inner.name, inner
        yield from _inner(inner, f"{above}{inner.name}.")


def _error(config: Config, message: str) -> InputError:
    return InputError(problem(config.place(_PATH), _PATH, f"given {message}".replace("given True", "given true")))
