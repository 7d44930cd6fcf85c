"""The JSON Schema of a config: gives completion and checking in editors that speak the YAML language server."""

from __future__ import annotations

import dataclasses
import typing
from importlib import metadata
from typing import Any, Literal, get_args, get_origin

from tftrain.config import arguments, registry
from tftrain.config.field_types import Many, Range, Time, members, part_kind, split
from tftrain.config.schema import Config
from tftrain.config.signature import REQUIRED, UNREAD

_TIME = r"^\s*(\d+|\d*\.\d+)\s*(steps?|epochs?)\s*$"
_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null", None: "null"}
_TYPES |= {list: "array", tuple: "array", dict: "object"}
_DOTTED = {"type": "string", "pattern": r"[.:]", "description": "your own, as module:name"}


def schema() -> dict[str, Any]:
    """The whole schema; the installed Keras decides which of its parts are in it."""
    root = _record(Config)
    root["properties"]["base"] = {"type": "string", "description": "a config file that this one builds upon"}
    root.pop("required")  # a config may leave to its base what it does not say
    kinds = {kind: _part(kind, {}) for kind in registry.KINDS if kind != "data"}
    head = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"made with Keras {metadata.version('keras')} by: python -m tftrain schema",
        "title": "tftrain config",
    }
    return head | root | {"definitions": kinds}


def _record(record: type) -> dict[str, Any]:
    hints = typing.get_type_hints(record, include_extras=True)
    fields = [one for one in dataclasses.fields(record) if not one.metadata.get("hidden")]
    part = next((one for one in fields if one.name == "source"), None)
    options = {one.name: _described(hints[one.name], one) for one in fields if one is not part}
    if part:
        return _part(part_kind(hints["source"]), options)
    required = [one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING]
    found = {"type": "object", "additionalProperties": False, "properties": options, "required": required}
    return found | {"description": _summary(record)}


def _summary(record: type) -> str:
    return " ".join((record.__doc__ or "").split())


def _described(hint: Any, one: dataclasses.Field) -> dict[str, Any]:
    found = dict(_hint(hint))
    if "$ref" in found:
        found = {"allOf": [found]}
    if found.get("type") == "object":
        found["type"] = ["object", "null"]  # a section left empty stands for its defaults
    if isinstance(one.default, (bool, int, float, str)):
        found["default"] = one.default
    return found | {"description": one.metadata["says"]}


def _part(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """A part by name, or with its arguments beside it; `options` are what its section takes there too."""
    listed = registry.names(kind)
    objects = [_named(kind, name, target, options) for name, target in listed.items()]
    common = {name: _hint(hint) for name, hint in registry.KINDS[kind].options.items()}
    own = {"type": "object", "required": ["name"], "properties": {"name": _DOTTED} | common | options}
    return {"anyOf": [{"enum": list(listed)}, *objects, _DOTTED, own]}


def _named(kind: str, name: str, target: str, options: dict[str, Any]) -> dict[str, Any]:
    known = arguments.of(kind, target)
    properties: dict[str, Any] = {"name": {"const": name}} | options
    for argument in known.given.values():
        one = dict(_hint(argument.hint))
        if argument.default not in (REQUIRED, UNREAD, None) and "$ref" not in one:
            one["default"] = argument.default
        properties[argument.name] = one
    required = ["name", *(one.name for one in known.given.values() if one.default is REQUIRED)]
    found = {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
    return found | {"description": known.summary}


def _hint(hint: Any) -> dict[str, Any]:
    choices = members(hint)
    if len(choices) > 1:
        return {"anyOf": [_hint(one) for one in choices]}
    bare, marks = split(hint)
    if part_kind(hint):
        return {"$ref": f"#/definitions/{part_kind(hint)}"}
    time = next((one for one in marks if isinstance(one, Time)), None)
    if time:
        words = [{"enum": list(time.words)}] if time.words else []
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": _TIME}, *words]}
    if get_origin(bare) is Literal:
        return {"enum": list(get_args(bare))}
    if get_origin(bare) in (list, tuple):
        items = _items(bare)
        return {"anyOf": [items, items["items"]]} if Many() in marks else items
    if dataclasses.is_dataclass(bare):
        return _record(bare)
    found = {"type": _TYPES[bare]} if bare in _TYPES else {}
    for one in marks:
        found |= _bounds(one) if isinstance(one, Range) else {}
    return found


def _items(hint: Any) -> dict[str, Any]:
    kinds = [one for one in get_args(hint) if one is not ...]
    found = {"type": "array", "items": _hint(kinds[0])} if len(set(kinds)) == 1 else {"type": "array"}
    of_one_size = get_origin(hint) is tuple and ... not in get_args(hint)
    return found | ({"minItems": len(kinds), "maxItems": len(kinds)} if of_one_size else {})


def _bounds(bound: Range) -> dict[str, float]:
    found = {}
    if bound.low is not None:
        found["exclusiveMinimum" if bound.above else "minimum"] = bound.low
    if bound.high is not None:
        found["exclusiveMaximum" if bound.below else "maximum"] = bound.high
    return found
