"""A tree of nodes -> a checked Config; every problem is collected, so that one run shows them all."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tftrain import arguments, catalogue
from tftrain.config import Config
from tftrain.parts import Part
from tftrain.rules import apply_rules
from tftrain.signature import REQUIRED, PartError
from tftrain.strict import ConfigError, Node, Place, nearest, problem
from tftrain.values import Many, PartOf, Range, Time, parse_time


class Wrong(ValueError):
    """A value that does not fit; the message says what was given and what was expected."""


INVALID = object()  # stands for a value that was reported already


def check(root: Node, source: str) -> Config:
    """Raises ConfigError with every problem of the config."""
    checker = Checker()
    found = checker.section(root, Config, "")
    if not checker.problems:
        apply_rules(found, lambda path, message: checker.report(checker.places.get(path, root.place), path, message))
    if checker.problems:
        raise ConfigError(checker.in_order())
    return dataclasses.replace(found, source=source)


class Checker:
    """Converts nodes by annotations and keeps what went wrong."""

    def __init__(self):
        self.problems: list[tuple[Place, str]] = []
        self.places: dict[str, Place] = {}

    def in_order(self) -> list[str]:
        return [line for _, line in sorted(self.problems, key=lambda one: (one[0].line == 0, one[0]))]

    def report(self, place: Place, path: str, message: str) -> object:
        self.problems.append((place, problem(place, path, message)))
        return INVALID

    def section(self, node: Node, record: type, path: str) -> Any:
        """A mapping -> a record of the schema. The arguments of a part beside its options go to the part."""
        hints, fields = _hints(record), {one.name: one for one in _fields(record)}
        part = next((name for name, hint in hints.items() if _part_of(hint) and name == "source"), None)
        if part and isinstance(node.value, str):
            node = Node({"name": (node.place, node)}, node.place)
        if not isinstance(node.value, dict):
            return self.report(node.place, path, f"given {given(node)}; expected a mapping of {_listed(fields)}")
        own = {key: pair for key, pair in node.value.items() if key in fields and key != part}
        rest = {key: pair for key, pair in node.value.items() if key not in own}
        values = self._entries(node, own, hints, path)
        if part:
            kind = _part_of(hints[part])
            values[part] = self.part(Node(rest, node.place), kind, path, options=tuple(own) or tuple(fields))
            fields.pop(part)
        else:
            for key, (place, _) in rest.items():
                where = f"section of {path}" if path else "section"
                message = f"unknown key; expected one of {_listed(fields)}{nearest(key, fields)}"
                self.report(place, _join(path, key), message if path else message.replace("key", where, 1))
        for name, one in fields.items():
            if name not in values:
                values[name] = self._default(node, one, hints[name], path)
        return INVALID if INVALID in values.values() else record(**values)

    def _entries(self, node: Node, own: dict, hints: dict, path: str) -> dict[str, Any]:
        return {key: self.value(value, hints[key], _join(path, key)) for key, (_, value) in own.items()}

    def _default(self, node: Node, one: dataclasses.Field, hint: Any, path: str) -> Any:
        default = one.default_factory() if one.default is dataclasses.MISSING and callable(one.default_factory) else one.default
        if default is dataclasses.MISSING or default is REQUIRED:
            says = one.metadata.get("says", "")
            message = f"missing; expected {describe(hint)}" + (f" ({says})" if says else "")
            return self.report(node.place, _join(path, one.name), message)
        if dataclasses.is_dataclass(default):
            return self.section(Node({}, node.place), type(default), _join(path, one.name))
        if isinstance(default, str) and default != "auto" and _part_of(hint):
            return self.value(Node(default, node.place, default), hint, _join(path, one.name))
        if default == "auto" and _part_of(hint):
            return self.part(Node("auto", node.place, "auto"), _part_of(hint), _join(path, one.name))
        return default

    def value(self, node: Node, hint: Any, path: str) -> Any:
        """One value of a config; a problem is reported and stands as INVALID."""
        self.places[path] = node.place
        choices = alternatives(hint)
        for choice in choices:
            record = get_args(choice)[0] if get_origin(choice) is Annotated else choice
            if dataclasses.is_dataclass(record) and node.value is not None:
                return self.section(node, record, path)
            kind = _part_of(choice)
            if kind and isinstance(node.value, (str, dict)) and not _fits_plainly(node, choices):
                return self.part(node, kind, path, instead=[one for one in choices if one is not choice])
            if get_origin(record) is list and self._is_list(node, choice, choices):
                return self._list(node, get_args(record)[0], path)
        try:
            return convert(node, hint)
        except Wrong as wrong:
            return self.report(node.place, path, str(wrong))

    def _is_list(self, node: Node, choice: Any, choices: list) -> bool:
        if isinstance(node.value, list):
            return True
        single = get_origin(choice) is Annotated and any(isinstance(one, Many) for one in get_args(choice))
        return single and node.value is not None and not _fits_plainly(node, choices)

    def _list(self, node: Node, item: Any, path: str) -> Any:
        if not isinstance(node.value, list):
            found = [self.value(node, item, path)]
        else:
            found = [self.value(one, item, f"{path}.{index}") for index, one in enumerate(node.value)]
        return INVALID if INVALID in found else found

    def part(self, node: Node, kind: str, path: str, options: tuple[str, ...] = (), instead: list = ()) -> Any:
        """A part by name, or by name with its arguments beside it; `instead` are the annotations allowed in its place."""
        if isinstance(node.value, str):
            node = Node({"name": (node.place, node)}, node.place)
        entries = dict(node.value)
        place, name = entries.pop("name", (node.place, None))
        if name is None:
            known = _listed(catalogue.names(kind)) if kind != "layer" else "the name of a layer"
            return self.report(place, _join(path, "name"), f"missing; expected {known}, or 'module:name'")
        if not isinstance(name.value, str):
            return self.report(name.place, _join(path, "name"), f"given {given(name)}; expected the name of a {kind}")
        try:
            listed, target = catalogue.find(kind, name.value)
            known = arguments.of(kind, target)
        except PartError as error:
            words = [describe(one) for one in instead if one is not type(None)]
            either = f"given {given(name)}; expected {' or '.join(words)}, or the name of a {kind}: " if words else ""
            return self.report(name.place, path, either + str(error))
        values = self._arguments(entries, known, listed, path, options)
        for argument in known.given.values():
            if argument.default is REQUIRED and argument.name not in entries:
                values[argument.name] = self.report(
                    place, _join(path, argument.name), f"missing; {listed} needs {describe(argument.hint)}"
                )
        return INVALID if INVALID in values.values() else Part(kind, listed, target, values, place)

    def _arguments(self, entries: dict, known: arguments.Arguments, listed: str, path: str, options: tuple) -> dict:
        values = {}
        for key, (place, value) in entries.items():
            if key in known.given:
                values[key] = self.value(value, known.given[key].hint, _join(path, key))
            elif key in known.refused:
                better = known.refused[key]
                message = f"refused: the train step does this, in the right order; write {better}" if better else (
                    "refused: inside the optimizer this would act at the wrong place of the train step"
                )
                values[key] = self.report(place, _join(path, key), message)
            elif key in known.house:
                values[key] = self.report(place, _join(path, key), f"{listed} is given this by tftrain; leave it out")
            else:
                names = [*known.given, *options]
                expected = f"expected one of {_listed(names)}" if names else "it takes no arguments"
                values[key] = self.report(
                    place, _join(path, key), f"unknown argument of {listed}; {expected}{nearest(key, names)}"
                )
        return values


def convert(node: Node, hint: Any) -> Any:
    """A plain value by its annotation; raises Wrong."""
    choices = alternatives(hint)
    for choice in choices:
        try:
            return _one(node, choice)
        except Wrong:
            continue
    raise Wrong(f"given {given(node)}; expected {describe(hint)}{_advice(node, choices)}")


def _one(node: Node, hint: Any) -> Any:
    extra: tuple = ()
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
    for one in extra:
        if isinstance(one, Time):
            return _time(node, one)
    if get_origin(hint) is Literal:
        if any(node.value == word and type(node.value) is type(word) for word in get_args(hint)):
            return node.value
        raise Wrong
    value = _plain(node)
    if hint is Any:
        return value
    if hint is type(None):
        fits = value is None
    elif hint in (int, float):
        value = _number(value, hint, node.text)
        fits = value is not None and all(one.holds(value) for one in extra if isinstance(one, Range))
    else:
        origin = get_origin(hint) or hint
        fits = isinstance(origin, type) and isinstance(value, list if origin is tuple else origin)
    if not fits:
        raise Wrong
    return value


def _number(value: Any, hint: type, text: str) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if hint is float:
        return float(value)
    whole = isinstance(value, int) or (value.is_integer() and "e" in text.lower())  # 1e5 is a whole number
    return int(value) if whole else None


def _time(node: Node, allowed: Time) -> int | str:
    if type(node.value) is int and node.value > 0:
        return node.value
    if isinstance(node.value, str) and (node.value in allowed.words or parse_time(node.value)):
        return node.value
    raise Wrong


def _plain(node: Node) -> Any:
    if isinstance(node.value, list):
        return [_plain(one) for one in node.value]
    if isinstance(node.value, dict):
        return {key: _plain(one) for key, (_, one) in node.value.items()}
    return node.value


def alternatives(hint: Any) -> list:
    """The members of a union, or the annotation itself."""
    return list(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else [hint]


def describe(hint: Any) -> str:
    """An annotation in words."""
    return " or ".join(dict.fromkeys(_describe(choice) for choice in alternatives(hint)))


def _describe(hint: Any) -> str:
    extra: tuple = ()
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
    for one in extra:
        if isinstance(one, PartOf):
            return f"{'an' if one.kind[0] in 'aeiou' else 'a'} {one.kind}"
        if isinstance(one, Time):
            words = "".join(f", or '{word}'" for word in one.words)
            return f"a number of steps above 0, or text such as '2 epochs'{words}"
    ranges = " and ".join(f" {one}" for one in extra if isinstance(one, Range))
    if get_origin(hint) is Literal:
        return ", ".join(f"'{word}'" for word in get_args(hint))
    if get_origin(hint) is list:
        return f"a list of: {describe(get_args(hint)[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    words |= {list: "a list", tuple: "a list", dict: "a mapping", Any: "a value"}
    return words.get(hint, "a mapping" if dataclasses.is_dataclass(hint) else str(hint)) + ranges


def given(node: Node) -> str:
    """A node's value as a message shows it."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing (null)"
    kind = "the text " if isinstance(node.value, str) else ""
    shown = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return f"{kind}'{shown}'"


def _advice(node: Node, choices: list) -> str:
    if bool in choices and str(node.value).lower() in ("yes", "on", "y", "no", "off", "n"):
        return f"; write {'true' if str(node.value).lower() in ('yes', 'on', 'y') else 'false'}"
    words = [word for one in choices if get_origin(one) is Literal for word in get_args(one)]
    return nearest(node.value, map(str, words)) if isinstance(node.value, str) else ""


def _fits_plainly(node: Node, choices: list) -> bool:
    """Whether a scalar is a word or number that the annotation allows beside a part."""
    try:
        convert(node, Union[tuple(one for one in choices if not _part_of(one) and get_origin(one) is not Annotated)])
    except (Wrong, TypeError):
        return False
    return True


def _part_of(hint: Any) -> str | None:
    for choice in alternatives(hint):
        for one in get_args(choice)[1:] if get_origin(choice) is Annotated else ():
            if isinstance(one, PartOf):
                return one.kind
    return None


@functools.cache
def _hints(record: type) -> dict[str, Any]:
    return {name: hint for name, hint in typing.get_type_hints(record, include_extras=True).items()}


def _fields(record: type) -> list[dataclasses.Field]:
    return [one for one in dataclasses.fields(record) if not one.metadata.get("hidden")]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _listed(names: Any) -> str:
    return ", ".join(names)
