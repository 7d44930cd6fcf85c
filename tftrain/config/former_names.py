"""Names of before: keys, arguments and components that were renamed, still read for one version."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from tftrain.config import registry
from tftrain.config.arguments import arguments_of
from tftrain.config.field_types import (
    ListOrItem,
    kind_in_words,
    part_kind,
    union_members,
    unwrap_annotated,
)
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import Node, SourceLocation, format_error
from tftrain.runtime.errors import ConfigError, ImportPathError
from tftrain.runtime.terminal import complain

# Former key -> current key, by the record of the schema that has it.
FORMER_KEYS: dict[str, dict[str, str]] = {
    "Checkpoint": {"keep": "max_to_keep"},
    "Gradients": {"accumulate": "accumulate_steps", "recompute": "remat"},
    "Log": {"pictures": "plots"},
    "Training": {"on_nonfinite": "on_bad_step", "spike": "spike_factor"},
}

# Former argument -> current argument, by kind and name of the component.
FORMER_ARGUMENTS: dict[tuple[str, str], dict[str, str]] = {
    ("data", "copy"): {"remembered": "symbols_to_copy"},
    ("method", "rtrl"): {"memory": "memory_limit_mib"},
}

# Former name -> current name of components, by kind.
FORMER_COMPONENTS: dict[str, dict[str, str]] = {}

_LAST_CALL = "the old name will stop working in the next version"


def with_current_names(node: Node, below: Node | None = None) -> Node:
    """Return the tree of a config with the current name in place of every former one.

    Each former name is reported on standard error, once in a process.

    Args:
        node: a whole config, or the part of one that a file or a flag gives.
        below: the config that it is merged into. A section that names no component is about the one named there.

    Raises:
        ConfigError: a mapping has both the former and the current name.
    """
    return _record_with_current_names(node, Config, below, "")


def _record_with_current_names(
    node: Node, record: type, below: Node | None, path: str
) -> Node:
    hints = typing.get_type_hints(record, include_extras=True)
    kind = part_kind(hints["source"]) if "source" in hints else None
    if kind:
        node = _component_with_current_names(node, kind, below, path)
    if not isinstance(node.value, dict):
        return node
    node = _with_current_keys(node, FORMER_KEYS.get(record.__name__, {}), path)
    return _with_current_values(node, hints, below, path)


def _component_with_current_names(
    node: Node, kind: str, below: Node | None, path: str
) -> Node:
    former_components = FORMER_COMPONENTS.get(kind, {})
    if isinstance(node.value, str):
        return _with_current_component(node, kind, former_components, path)
    if not isinstance(node.value, dict):
        return node
    if "name" in node.value:
        place, name_node = node.value["name"]
        name_node = _with_current_component(
            name_node, kind, former_components, path
        )
        node = Node({**node.value, "name": (place, name_node)}, node.place)
    name = _component_name(node) or _component_name(below)
    if name is None:
        return node
    try:
        name, target = registry.find(kind, name)
        known = arguments_of(kind, target).given
    except ImportPathError:  # reported when the config is validated
        return node
    node = _with_current_keys(
        node, FORMER_ARGUMENTS.get((kind, name), {}), path
    )
    hints = {key: argument.hint for key, argument in known.items()}
    return _with_current_values(node, hints, below, path)


def _with_current_values(
    node: Node, hints: Mapping[str, Any], below: Node | None, path: str
) -> Node:
    """Return the mapping with the current names in the values of the keys that have an annotation."""
    entries = {}
    for key, (place, value) in node.value.items():
        if key in hints:
            value = _value_with_current_names(
                value, hints[key], _entry(below, key), _join(path, key)
            )
        entries[key] = (place, value)
    return Node(entries, node.place)


def _value_with_current_names(
    node: Node, hint: Any, below: Node | None, path: str
) -> Node:
    for member in union_members(hint):
        bare, marks = unwrap_annotated(member)
        if dataclasses.is_dataclass(bare):
            return _record_with_current_names(node, bare, below, path)
        kind = part_kind(member)
        if kind:
            return _component_with_current_names(node, kind, below, path)
        if get_origin(bare) is list:
            item_hint = get_args(bare)[0]
            if isinstance(node.value, list):
                items = [
                    _value_with_current_names(
                        item, item_hint, None, f"{path}.{index}"
                    )
                    for index, item in enumerate(node.value)
                ]
                return Node(items, node.place)
            if ListOrItem() in marks:
                return _value_with_current_names(node, item_hint, below, path)
    return node


def _with_current_keys(
    node: Node, former: Mapping[str, str], path: str
) -> Node:
    """Return the mapping with the current keys; of two in different places, a flag's replaces a file's."""
    entries: dict[str, tuple[SourceLocation, Node]] = {}
    for key, (place, value) in node.value.items():
        current = former.get(key, key)
        if current != key:
            old_path = _join(path, key)
            new_path = _join(path, current)
            if current in node.value:
                other_place = node.value[current][0]
                if other_place.source == place.source:
                    message = (
                        f"given beside {new_path}, its current name; "
                        "expected one of the two"
                    )
                    raise ConfigError([format_error(place, old_path, message)])
                if place.line:
                    continue
            _report_once(f"{place}: {old_path} is now {new_path}; {_LAST_CALL}")
        elif key in entries:
            continue
        entries[current] = (place, value)
    return Node(entries, node.place)


def _with_current_component(
    node: Node, kind: str, former: Mapping[str, str], path: str
) -> Node:
    if not isinstance(node.value, str) or node.value not in former:
        return node
    current = former[node.value]
    renaming = f"the {kind_in_words(kind)} '{node.value}' is now '{current}'"
    _report_once(format_error(node.place, path, f"{renaming}; {_LAST_CALL}"))
    return Node(current, node.place, current)


def _component_name(node: Node | None) -> str | None:
    if (
        node is not None
        and isinstance(node.value, dict)
        and "name" in node.value
    ):
        node = node.value["name"][1]
    return (
        node.value if node is not None and isinstance(node.value, str) else None
    )


def _entry(node: Node | None, key: str) -> Node | None:
    if (
        node is None
        or not isinstance(node.value, dict)
        or key not in node.value
    ):
        return None
    return node.value[key][1]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


@functools.cache
def _report_once(line: str) -> None:
    complain(line)
