"""Which component a config names, and what is wrong where it names none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tftrain.config import arguments, registry
from tftrain.config.arguments import Arguments
from tftrain.config.conversion import (
    describe_type,
    describe_value,
    mismatch_message,
    suggestion,
)
from tftrain.config.field_types import kind_in_words, part_kind, union_members
from tftrain.config.yaml_parser import Node, SourceLocation
from tftrain.runtime.errors import ImportPathError
from tftrain.runtime.names import did_you_mean, join_names, one_of, with_article


class ResolvedComponent(NamedTuple):
    """A component by the name it is listed under, its target, and the nodes of its arguments as the config has them."""

    kind: str
    name: str
    target: str
    place: SourceLocation
    known: Arguments
    entries: dict[str, tuple[SourceLocation, Node]]


class UnknownComponent(NamedTuple):
    """What is wrong where no component is named, and below which key of the component."""

    place: SourceLocation
    key: str
    message: str


def expand_short_form(node: Node) -> Node:
    """Return the short form `adam` as the mapping {name: adam}, anything else as it is."""
    if isinstance(node.value, str):
        return Node({"name": (node.place, node)}, node.place)
    return node


def resolve_component(
    node: Node, kind: str, hint: Any
) -> ResolvedComponent | UnknownComponent:
    """Return the component that a name, or a mapping with a `name:`, stands for.

    Args:
        node: the name or the mapping.
        kind: of component.
        hint: the annotation, which says what else could be meant.
    """
    entries = dict(expand_short_form(node).value or {})
    place, name = entries.pop("name", (node.place, None))
    description = with_article(kind_in_words(kind))
    if name is None or name.value is None:
        names = join_names(registry.names_of_kind(kind))
        message = f"missing; expected the name of {description}: {names}"
        return UnknownComponent(place, "name", message)
    if not isinstance(name.value, str):
        value_text = describe_value(name.value, name.text)
        message = f"given {value_text}; expected the name of {description}"
        return UnknownComponent(name.place, "name", message)
    try:
        listed_name, target = registry.find(kind, name.value)
        known = arguments.arguments_of(kind, target)
    except ImportPathError as error:
        if suggestion(name, hint):
            message = mismatch_message(name, hint)
        else:
            message = f"{_describe_alternatives(name, hint)}{error}"
        return UnknownComponent(name.place, "", message)
    return ResolvedComponent(
        kind, listed_name, target, name.place, known, entries
    )


def _describe_alternatives(name: Node, hint: Any) -> str:
    """Return what else than a component is possible, such as a number in place of a schedule."""
    for member in union_members(hint):
        if part_kind(member) is None and member is not type(None):
            value_text = describe_value(name.value, name.text)
            return f"given {value_text}; expected {describe_type(hint)}: "
    return ""


def unknown_argument_message(
    key: str, chosen: ResolvedComponent, options: Sequence[str]
) -> str:
    """Return why a component does not take an argument, and what to write instead.

    Args:
        key: the argument.
        chosen: the component.
        options: the keys of its section beside its arguments.
    """
    if key in chosen.known.refused:
        return f"refused: {chosen.known.refused[key]}"
    if key in chosen.known.house:
        return f"{chosen.name} is given this by tftrain; leave it out"
    names = [*chosen.known.given, *options]
    expected = f"expected {one_of(names)}" if names else "it takes no arguments"
    return f"unknown argument of {chosen.name}; {expected}{did_you_mean(key, names)}"
