"""A checked config as YAML: every value, the defaults filled in; enough to repeat the run."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Literal, get_args, get_origin

import yaml

from tftrain.config import arguments, registry
from tftrain.config.component import Component, plain
from tftrain.config.conversion import describe_type
from tftrain.config.field_types import (
    DurationType,
    ListOrItem,
    Range,
    part_kind,
    union_members,
    unwrap_annotated,
)
from tftrain.config.schema import Config
from tftrain.config.signature import OPAQUE_DEFAULT, REQUIRED, Argument

NOT_SETTINGS = ("log", "checkpoint")  # what is written, and what is kept
ABSENT = type(
    "_Absent", (), {"__str__": lambda self: "not there"}
)()  # stands for a value that there is not


def to_yaml(config: Config) -> str:
    """The resolved config as YAML text that `load` reads back to an equal config."""
    return yaml.safe_dump(
        _plain(config),
        sort_keys=False,
        default_flow_style=None,
        width=110,
        allow_unicode=True,
    )


def flat_hparams(config: Config) -> dict[str, bool | float | str]:
    """All that the numbers of a run come of, by key path; a part's path has its name, and its arguments are within."""
    sections = {
        name: section
        for name, section in _plain(config).items()
        if name not in NOT_SETTINGS
    }
    return dict(_leaves(sections, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, bool | float | str]]:
    if isinstance(value, list) and any(
        isinstance(item, dict) for item in value
    ):
        names = [
            item.get("name") if isinstance(item, dict) else item
            for item in value
        ]
        if (
            len(value) > 1 and None not in names
        ):  # groups of parameters have none
            yield path, ", ".join(map(str, names))
        value = dict(enumerate(value)) if len(value) > 1 else value[0]
    if isinstance(value, dict):
        if "name" in value and path:
            yield path, str(value["name"])
        for key, inner in value.items():
            if key != "name" or not path:
                yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (bool, int, float)):
        yield path, value
    else:
        words = value if isinstance(value, (list, tuple)) else [value]
        yield (
            path,
            ", ".join("none" if word is None else str(word) for word in words)
            or "none",
        )


def config_diff(old_config: Config, new_config: Config) -> list[str]:
    """Where two configs differ, a line for each value: `key.path: old -> new`."""
    changes = differences(_plain(old_config), _plain(new_config))
    return [f"{'.'.join(path)}: {old} -> {new}" for path, old, new in changes]


def differences(
    old: Any, new: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two configs as plain values differ: the key path, and the value in either."""
    if old == new:
        return
    old_entries, new_entries = _entries(old, new), _entries(new, old)
    if old_entries is None or new_entries is None:
        yield path, old, new
        return
    for key in [
        *old_entries,
        *(key for key in new_entries if key not in old_entries),
    ]:
        yield from differences(
            old_entries.get(key, ABSENT),
            new_entries.get(key, ABSENT),
            (*path, str(key)),
        )


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, Component):
        return plain(value)
    names = [
        field_.name
        for field_ in dataclasses.fields(value)
        if not field_.metadata.get("hidden")
    ]
    written = {name: _plain(getattr(value, name)) for name in names}
    if isinstance(
        getattr(value, "source", None), Component
    ):  # with the options of its section beside its arguments
        part, accepted = (
            value.source.plain(),
            arguments.arguments_of(
                value.source.kind, value.source.target
            ).given,
        )
        options = {
            name: inner
            for name, inner in written.items()
            if name != "source" and name not in accepted
        }
        return (part if isinstance(part, dict) else {"name": part}) | options
    return written


def _entries(value: Any, counterpart: Any) -> dict | None:
    """What is inside of a value that is compared with another one; None where it must be told as a whole."""
    if (
        value is ABSENT
        and isinstance(counterpart, (dict, list))
        and counterpart
    ):
        return {}
    if (
        isinstance(value, str)
        and isinstance(counterpart, dict)
        and "name" in counterpart
    ):  # a part without arguments
        return {"name": value}
    if isinstance(value, list):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None


def component_listing(kind: str | None = None) -> str:
    """Every part of a kind with its arguments and defaults; without a kind, of all kinds."""
    kinds = [kind] if kind else list(registry.COMPONENT_KINDS)
    return "\n\n".join(_section(listed_kind) for listed_kind in kinds)


def _section(kind: str) -> str:
    entry = registry.COMPONENT_KINDS[kind]
    lines = [f"{kind}: {entry.says}"]
    for name, target in registry.names_of_kind(kind).items():
        known = arguments.arguments_of(kind, target)
        lines.append(f"  {name:<24}  {known.summary}".rstrip())
        lines += [
            f"      {_argument(argument)}" for argument in known.given.values()
        ]
    asks = (
        f" (it can ask for {', '.join(entry.house)} by keyword-only arguments)"
        if entry.house
        else ""
    )
    options = [f"      {name} = null" for name in entry.options]
    return "\n".join(
        [*lines, f"  module:name{'':<13}  your own{asks}", *options]
    )


def _argument(argument: Argument) -> str:
    if argument.default is REQUIRED:
        return f"{argument.name}: {describe_type(argument.hint)}, required"
    default = (
        ""
        if argument.default is OPAQUE_DEFAULT
        else f" = {_value(argument.default)}"
    )
    return f"{argument.name}{default}"


def _value(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return (
        words[value] if value is None or isinstance(value, bool) else str(value)
    )


_TIME = r"^\s*(\d+|\d*\.\d+)\s*(steps?|epochs?)\s*$"
_TYPES = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "string",
    type(None): "null",
    None: "null",
}
_TYPES |= {list: "array", tuple: "array", dict: "object"}
_DOTTED = {
    "type": "string",
    "pattern": r"[.:]",
    "description": "your own, as module:name",
}


def json_schema() -> dict[str, Any]:
    """The whole schema; the installed Keras decides which of its parts are in it."""
    root = _record(Config)
    root["properties"]["base"] = {
        "type": "string",
        "description": "a config file that this one builds upon",
    }
    root.pop("required")  # a config may leave to its base what it does not say
    kinds = {
        kind: _part(kind, {})
        for kind in registry.COMPONENT_KINDS
        if kind != "data"
    }
    head = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"made with Keras {metadata.version('keras')} by: python -m tftrain schema",
        "title": "tftrain config",
    }
    return head | root | {"definitions": kinds}


def _record(record: type) -> dict[str, Any]:
    hints = typing.get_type_hints(record, include_extras=True)
    fields = [
        field_
        for field_ in dataclasses.fields(record)
        if not field_.metadata.get("hidden")
    ]
    part = next((field_ for field_ in fields if field_.name == "source"), None)
    options = {
        field_.name: _described(hints[field_.name], field_)
        for field_ in fields
        if field_ is not part
    }
    if part:
        return _part(part_kind(hints["source"]), options)
    required = [
        field_.name
        for field_ in fields
        if field_.default is field_.default_factory is dataclasses.MISSING
    ]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": options,
        "required": required,
    }
    return schema | {"description": _summary(record)}


def _summary(record: type) -> str:
    return " ".join((record.__doc__ or "").split())


def _described(hint: Any, field_: dataclasses.Field) -> dict[str, Any]:
    schema = dict(_hint(hint))
    if "$ref" in schema:
        schema = {"allOf": [schema]}
    if schema.get("type") == "object":
        schema["type"] = [
            "object",
            "null",
        ]  # a section left empty stands for its defaults
    if isinstance(field_.default, (bool, int, float, str)):
        schema["default"] = field_.default
    return schema | {"description": field_.metadata["says"]}


def _part(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """A part by name, or with its arguments beside it; `options` are what its section takes there too."""
    listed = registry.names_of_kind(kind)
    objects = [
        _named(kind, name, target, options) for name, target in listed.items()
    ]
    common = {
        name: _hint(hint)
        for name, hint in registry.COMPONENT_KINDS[kind].options.items()
    }
    user_component = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": _DOTTED} | common | options,
    }
    return {
        "anyOf": [{"enum": list(listed)}, *objects, _DOTTED, user_component]
    }


def _named(
    kind: str, name: str, target: str, options: dict[str, Any]
) -> dict[str, Any]:
    known = arguments.arguments_of(kind, target)
    properties: dict[str, Any] = {"name": {"const": name}} | options
    for argument in known.given.values():
        property_ = dict(_hint(argument.hint))
        if (
            argument.default not in (REQUIRED, OPAQUE_DEFAULT, None)
            and "$ref" not in property_
        ):
            property_["default"] = argument.default
        properties[argument.name] = property_
    required = [
        "name",
        *(
            property_.name
            for property_ in known.given.values()
            if property_.default is REQUIRED
        ),
    ]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }
    return schema | {"description": known.summary}


def _hint(hint: Any) -> dict[str, Any]:
    choices = union_members(hint)
    if len(choices) > 1:
        return {"anyOf": [_hint(mark) for mark in choices]}
    bare, marks = unwrap_annotated(hint)
    if part_kind(hint):
        return {"$ref": f"#/definitions/{part_kind(hint)}"}
    time = next(
        (mark for mark in marks if isinstance(mark, DurationType)), None
    )
    if time:
        words = [{"enum": list(time.words)}] if time.words else []
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": _TIME},
                *words,
            ]
        }
    if get_origin(bare) is Literal:
        return {"enum": list(get_args(bare))}
    if get_origin(bare) in (list, tuple):
        items = _items(bare)
        return (
            {"anyOf": [items, items["items"]]}
            if ListOrItem() in marks
            else items
        )
    if dataclasses.is_dataclass(bare):
        return _record(bare)
    schema = {"type": _TYPES[bare]} if bare in _TYPES else {}
    for mark in marks:
        schema |= _bounds(mark) if isinstance(mark, Range) else {}
    return schema


def _items(hint: Any) -> dict[str, Any]:
    kinds = [kind for kind in get_args(hint) if kind is not ...]
    schema = (
        {"type": "array", "items": _hint(kinds[0])}
        if len(set(kinds)) == 1
        else {"type": "array"}
    )
    of_one_size = get_origin(hint) is tuple and ... not in get_args(hint)
    return schema | (
        {"minItems": len(kinds), "maxItems": len(kinds)} if of_one_size else {}
    )


def _bounds(bound: Range) -> dict[str, float]:
    limits = {}
    if bound.low is not None:
        limits["exclusiveMinimum" if bound.above else "minimum"] = bound.low
    if bound.high is not None:
        limits["exclusiveMaximum" if bound.below else "maximum"] = bound.high
    return limits
