"""The JSON Schema of a config: gives completion and checking in editors that speak the YAML language server."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tftrain import arguments, catalogue
from tftrain.config import Config
from tftrain.signature import REQUIRED, UNREAD
from tftrain.values import Many, PartOf, Range, Time

_TIME = r"^\s*(\d+|\d*\.\d+)\s*(steps?|epochs?)\s*$"
_DOTTED = {"type": "string", "pattern": r"[.:]", "description": "your own, as module:name"}


def schema() -> dict[str, Any]:
    """The whole schema; the installed Keras decides which of its parts are in it."""
    root = _record(Config)
    root["properties"]["base"] = {"type": "string", "description": "a config file that this one builds upon"}
    root.pop("required")  # a config may leave to its base what it does not say
    kinds = {kind: _kind(kind) for kind in catalogue.KINDS if kind != "data"}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "tftrain config"}
    return head | root | {"definitions": kinds}


def _record(record: type) -> dict[str, Any]:
    hints = typing.get_type_hints(record, include_extras=True)
    fields = [one for one in dataclasses.fields(record) if not one.metadata.get("hidden")]
    part = next((one for one in fields if one.name == "source"), None)
    options = {one.name: _described(hints[one.name], one) for one in fields if one is not part}
    if part:
        return _part_with_options("data", options)
    required = [one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING]
    found = {"type": "object", "additionalProperties": False, "properties": options, "required": required}
    return found | {"description": _summary(record)}


def _summary(record: type) -> str:
    return " ".join((record.__doc__ or "").split())


def _described(hint: Any, one: dataclasses.Field) -> dict[str, Any]:
    found = dict(_hint(hint))
    if "$ref" in found:
        found = {"allOf": [found]}
    if isinstance(one.default, (bool, int, float, str)):
        found["default"] = one.default
    return found | {"description": one.metadata["says"]}


def _kind(kind: str) -> dict[str, Any]:
    listed = catalogue.names(kind)
    objects = [_named(kind, name, target) for name, target in listed.items()]
    own = {"type": "object", "required": ["name"], "properties": {"name": _DOTTED}}
    return {"anyOf": [{"enum": list(listed)}, *objects, _DOTTED, own]}


def _part_with_options(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    listed = catalogue.names(kind)
    objects = []
    for name, target in listed.items():
        one = _named(kind, name, target)
        objects.append(one | {"properties": options | one["properties"]})  # as in a config, its own arguments win
    own = {"type": "object", "required": ["name"], "properties": {"name": _DOTTED} | options}
    return {"anyOf": [{"enum": list(listed)}, *objects, _DOTTED, own]}


def _named(kind: str, name: str, target: str) -> dict[str, Any]:
    known = arguments.of(kind, target)
    properties: dict[str, Any] = {"name": {"const": name}}
    for argument in known.given.values():
        one = dict(_hint(argument.hint))
        if argument.default not in (REQUIRED, UNREAD) and argument.default is not None and "$ref" not in one:
            one["default"] = argument.default
        properties[argument.name] = one
    required = ["name", *(one.name for one in known.given.values() if one.default is REQUIRED)]
    found = {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
    return found | {"description": known.summary}


def _hint(hint: Any) -> dict[str, Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return {"anyOf": [_hint(one) for one in get_args(hint)]}
    extra: tuple = ()
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
    for one in extra:
        if isinstance(one, PartOf):
            return _part_reference(one.kind)
        if isinstance(one, Time):
            text = {"type": "string", "pattern": _TIME}
            words = [{"enum": list(one.words)}] if one.words else []
            return {"anyOf": [{"type": "integer", "minimum": 1}, text, *words]}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is list:
        listed = {"type": "array", "items": _hint(get_args(hint)[0])}
        return {"anyOf": [listed, listed["items"]]} if any(isinstance(one, Many) for one in extra) else listed
    if dataclasses.is_dataclass(hint):
        return _record(hint)
    names = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}
    names |= {list: "array", tuple: "array", dict: "object"}
    found: dict[str, Any] = {"type": names[hint]} if hint in names else {}
    for one in extra:
        found |= _bounds(one) if isinstance(one, Range) else {}
    return found


def _part_reference(kind: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{kind}"}


def _bounds(bound: Range) -> dict[str, float]:
    found = {}
    if bound.low is not None:
        found["exclusiveMinimum" if bound.above else "minimum"] = bound.low
    if bound.high is not None:
        found["exclusiveMaximum" if bound.below else "maximum"] = bound.high
    return found
