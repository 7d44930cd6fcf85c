"""Which part a config names: its place in the catalogue and what it can be given, before its arguments are checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tftrain.config import arguments, registry
from tftrain.config.arguments import Arguments
from tftrain.config.conversion import advice, misfit
from tftrain.config.field_types import members, part_kind
from tftrain.config.importing import PartError
from tftrain.config.wording import describe, given, noun, with_article
from tftrain.config.yaml_parser import Node, Place
from tftrain.runtime.names import listed, nearest, one_of


class Chosen(NamedTuple):
    """A part by the name it is listed under, its target, and the nodes of its arguments as the config wrote them."""

    kind: str
    name: str
    target: str
    place: Place
    known: Arguments
    entries: dict[str, tuple[Place, Node]]


class Unchosen(ValueError):
    """No part is named; tells where, and below which key of the part."""

    def __init__(self, place: Place, key: str, message: str):
        super().__init__(message)
        self.place, self.key = place, key


def spread(node: Node) -> Node:
    """The short form `adam` as the mapping {name: adam}; anything else stays as it is."""
    return Node({"name": (node.place, node)}, node.place) if isinstance(node.value, str) else node


def choose(node: Node, kind: str, hint: Any) -> Chosen:
    """The part that a name, or a mapping with a `name:`, stands for; `hint` says what else could be meant.

    Raises:
        Unchosen: there is no name, or nothing of this name.
    """
    entries = dict(spread(node).value or {})
    place, name = entries.pop("name", (node.place, None))
    if name is None or name.value is None:
        names = listed(registry.names(kind))
        raise Unchosen(place, "name", f"missing; expected the name of {with_article(noun(kind))}: {names}")
    if not isinstance(name.value, str):
        message = f"given {given(name.value, name.text)}; expected the name of {with_article(noun(kind))}"
        raise Unchosen(name.place, "name", message)
    try:
        listed_as, target = registry.find(kind, name.value)
        return Chosen(kind, listed_as, target, name.place, arguments.of(kind, target), entries)
    except PartError as error:
        message = misfit(name, hint) if advice(name, hint) else f"{_instead(name, hint)}{error}"
        raise Unchosen(name.place, "", message) from None


def _instead(name: Node, hint: Any) -> str:
    """What could stand in the place of a part, such as a number in that of a schedule."""
    others = [one for one in members(hint) if part_kind(one) is None and one is not type(None)]
    return f"given {given(name.value, name.text)}; expected {describe(hint)}: " if others else ""


def unwanted(key: str, chosen: Chosen, options: Sequence[str]) -> str:
    """Why the part does not take the argument, and what to write instead."""
    if key in chosen.known.refused:
        return f"refused: {chosen.known.refused[key]}"
    if key in chosen.known.house:
        return f"{chosen.name} is given this by tftrain; leave it out"
    names = [*chosen.known.given, *options]
    expected = f"expected {one_of(names)}" if names else "it takes no arguments"
    return f"unknown argument of {chosen.name}; {expected}{nearest(key, names)}"
