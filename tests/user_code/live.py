"""Parts whose arguments only an import can tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial


@dataclass
class Record:
    """A data class."""

    units: int
    rate: float = 0.5
    sizes: list[int] = field(default_factory=list)


class Mixin:
    pass


class Both(Mixin, Record):
    """Two bases."""


def scaled(x, by: float, shift: float = 0.0):
    return x * by + shift


def layered(activations: list[Activation] = ["swish", "relu"]):  # noqa: B006, F821 (as a config reads it)
    """Defaults that are names of parts."""


half = partial(scaled, by=0.5)
number = 3
