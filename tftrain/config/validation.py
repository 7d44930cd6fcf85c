"""A tree of nodes -> a checked Config; every problem is collected, so that one run shows them all."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args, get_origin

from tftrain.config import arguments, registry
from tftrain.config.arguments import Arguments
from tftrain.config.component import Component
from tftrain.config.conversion import (
    InvalidValue,
    convert,
    describe_type,
    describe_value,
    mismatch_message,
    suggestion,
)
from tftrain.config.field_types import (
    ListOrItem,
    kind_in_words,
    part_kind,
    union_members,
    unwrap_annotated,
)
from tftrain.config.rules import RULES, rate_rules
from tftrain.config.schema import DEFAULT_EPOCHS, Config
from tftrain.config.signature import REQUIRED
from tftrain.config.yaml_parser import Node, SourceLocation, format_error
from tftrain.runtime.errors import ConfigError, ImportPathError
from tftrain.runtime.names import did_you_mean, join_names, one_of, with_article

_SOURCE = "source"  # the field of a section that is a part, with the section's other fields beside its arguments


def validate(root: Node, source: str) -> Config:
    """Raises ConfigError with every problem of the config."""
    findings = ErrorCollector()
    config = Validator(findings).section(root, Config, "")
    (rate,) = findings.valid(["optimizer.learning_rate"]) or [None]
    for rule in (*RULES, *rate_rules(rate)):
        values = findings.valid(rule.needs)
        broken = rule.broken(*values) if values else None
        if broken:
            findings.report(findings.place(rule.blamed), rule.blamed, broken)
    if findings.problems():
        raise ConfigError(findings.problems())
    if config.training.epochs is None and config.training.steps is None:
        config = dataclasses.replace(
            config, training=dataclasses.replace(config.training, epochs=DEFAULT_EPOCHS)
        )
    return dataclasses.replace(config, source=source, places=findings.places())


class Validator:
    """Converts nodes by annotations, and hands every value and every problem to the findings."""

    def __init__(self, findings: ErrorCollector):
        self._keep, self._report = findings.keep, findings.report

    def value(self, node: Node, hint: Any, path: str) -> Any:
        """One value by its annotation; a problem is reported and stands as INVALID."""
        return self._keep(node.place, path, self._read(node, hint, path))

    def _read(self, node: Node, hint: Any, path: str) -> Any:
        try:
            return convert(node, hint)
        except InvalidValue as wrong:
            message = str(wrong)
        for member in union_members(hint):
            bare, marks = unwrap_annotated(member)
            if dataclasses.is_dataclass(bare) and not (
                isinstance(node.value, str) and suggestion(node, hint)
            ):
                return self.section(node, bare, path)
            if part_kind(member) and isinstance(node.value, (str, dict)):
                chosen = self._chosen(node, part_kind(member), hint, path)
                return self._filled(chosen, path) if chosen else INVALID
            single = ListOrItem() in marks and node.value is not None
            if get_origin(bare) in (list, tuple) and (
                single or isinstance(node.value, list)
            ):
                return self._list(node, bare, path)
        return self._report(node.place, path, message)

    def _list(self, node: Node, hint: Any, path: str) -> Any:
        if not isinstance(node.value, list):  # one value stands for a list of one
            items, paths = [node], [path]
        else:
            items, paths = (
                node.value,
                [f"{path}.{index}" for index in range(len(node.value))],
            )
        hints = [item for item in get_args(hint) if item is not ...]
        if len(hints) == 1:
            hints *= len(items)
        elif len(hints) != len(items):
            return self._report(
                node.place,
                path,
                f"given a list of {len(items)}; expected a list of {len(hints)}",
            )
        values = [self.value(*item) for item in zip(items, hints, paths, strict=True)]
        return INVALID if INVALID in values else values

    def section(self, node: Node, record: type, path: str) -> Any:
        """A mapping -> a record of the schema; nothing at all stands for its defaults."""
        hints, fields = _hints(record), _fields(record)
        kind = part_kind(hints[_SOURCE]) if fields.pop(_SOURCE, None) else None
        node = expand_short_form(node) if kind else node
        if not isinstance(node.value, (dict, type(None))):
            expected = (
                describe_type(record) if kind else f"a mapping of {', '.join(fields)}"
            )
            return self._report(
                node.place,
                path,
                f"given {describe_value(node.value, node.text)}; expected {expected}",
            )
        values, entries = {}, node.value or {}
        if kind:
            chosen = self._chosen(node, kind, hints[_SOURCE], path)
            options = [
                name for name in fields if not chosen or name not in chosen.known.given
            ]
            values[_SOURCE] = self._filled(chosen, path, options) if chosen else INVALID
            entries = {key: pair for key, pair in entries.items() if key in options}
        for key in (key for key in entries if key not in fields):
            message = f"unknown {'key' if path else 'section'}; expected {one_of(fields)}{did_you_mean(key, fields)}"
            self._report(entries[key][0], _join(path, key), message)
        for name, field in fields.items():
            values[name] = self._field(
                field, hints[name], entries.get(name), node.place, _join(path, name)
            )
        return INVALID if INVALID in values.values() else record(**values)

    def _field(
        self,
        field: dataclasses.Field,
        hint: Any,
        entry: tuple | None,
        above: SourceLocation,
        path: str,
    ) -> Any:
        """The value of a field: the one given, else its default."""
        place, node = entry or (above, Node(None, above))
        if entry and not (node.value is None and _has_empty_default(hint)):
            return self.value(node, hint, path)
        default = (
            field.default
            if field.default_factory is dataclasses.MISSING
            else field.default_factory()
        )
        if default is dataclasses.MISSING:
            return self._report(
                place,
                path,
                f"missing; expected {describe_type(hint)} ({field.metadata['says']})",
            )
        if dataclasses.is_dataclass(default):
            return self.value(Node(None, place), hint, path)
        if isinstance(default, str) and part_kind(hint):
            return self.value(Node(default, place, default), hint, path)
        return self._keep(place, path, default)

    def _chosen(
        self, node: Node, kind: str, hint: Any, path: str
    ) -> ResolvedComponent | None:
        try:
            return choose(node, kind, hint)
        except UnknownComponent as error:
            self._report(error.place, _join(path, error.key), str(error))
            return None

    def _filled(
        self, chosen: ResolvedComponent, path: str, options: Sequence[str] = ()
    ) -> Any:
        """The part with its arguments checked; `options` are the keys beside them that belong to its section."""
        values, known = {}, chosen.known.given
        for key, (place, node) in chosen.entries.items():
            if key in known:
                values[key] = self.value(node, known[key].hint, _join(path, key))
            elif key not in options:
                values[key] = self._report(
                    place,
                    _join(path, key),
                    unknown_argument_message(key, chosen, options),
                )
        for name, argument in known.items():
            if argument.default is REQUIRED and name not in chosen.entries:
                message = f"missing; {chosen.name} needs {describe_type(argument.hint)}"
                values[name] = self._report(chosen.place, _join(path, name), message)
        if INVALID in values.values():
            return INVALID
        return Component(
            chosen.kind, chosen.name, chosen.target, values, chosen.place, path
        )


def _has_empty_default(hint: Any) -> bool:
    """Whether a key with nothing after it stands for the default: sections, parts and lists of parts."""
    return bool(part_kind(hint)) or any(
        dataclasses.is_dataclass(bare) or ListOrItem() in marks
        for bare, marks in map(unwrap_annotated, union_members(hint))
    )


@functools.cache
def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record, include_extras=True)


def _fields(record: type) -> dict[str, dataclasses.Field]:
    return {
        field.name: field
        for field in dataclasses.fields(record)
        if not field.metadata.get("hidden")
    }


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


class ResolvedComponent(NamedTuple):
    """A part by the name it is listed under, its target, and the nodes of its arguments as the config wrote them."""

    kind: str
    name: str
    target: str
    place: SourceLocation
    known: Arguments
    entries: dict[str, tuple[SourceLocation, Node]]


class UnknownComponent(ValueError):
    """No part is named; tells where, and below which key of the part."""

    def __init__(self, place: SourceLocation, key: str, message: str):
        super().__init__(message)
        self.place, self.key = place, key


def expand_short_form(node: Node) -> Node:
    """The short form `adam` as the mapping {name: adam}; anything else stays as it is."""
    return (
        Node({"name": (node.place, node)}, node.place)
        if isinstance(node.value, str)
        else node
    )


def choose(node: Node, kind: str, hint: Any) -> ResolvedComponent:
    """The part that a name, or a mapping with a `name:`, stands for; `hint` says what else could be meant.

    Raises:
        Unchosen: there is no name, or nothing of this name.
    """
    entries = dict(expand_short_form(node).value or {})
    place, name = entries.pop("name", (node.place, None))
    if name is None or name.value is None:
        names = join_names(registry.names_of_kind(kind))
        raise UnknownComponent(
            place,
            "name",
            f"missing; expected the name of {with_article(kind_in_words(kind))}: {names}",
        )
    if not isinstance(name.value, str):
        value_text = describe_value(name.value, name.text)
        expected = f"the name of {with_article(kind_in_words(kind))}"
        message = f"given {value_text}; expected {expected}"
        raise UnknownComponent(name.place, "name", message)
    try:
        listed_as, target = registry.find(kind, name.value)
        return ResolvedComponent(
            kind,
            listed_as,
            target,
            name.place,
            arguments.arguments_of(kind, target),
            entries,
        )
    except ImportPathError as error:
        message = (
            mismatch_message(name, hint)
            if suggestion(name, hint)
            else f"{_instead(name, hint)}{error}"
        )
        raise UnknownComponent(name.place, "", message) from None


def _instead(name: Node, hint: Any) -> str:
    """What could stand in the place of a part, such as a number in that of a schedule."""
    alternatives = [
        member
        for member in union_members(hint)
        if part_kind(member) is None and member is not type(None)
    ]
    return (
        f"given {describe_value(name.value, name.text)}; expected {describe_type(hint)}: "
        if alternatives
        else ""
    )


def unknown_argument_message(
    key: str, chosen: ResolvedComponent, options: Sequence[str]
) -> str:
    """Why the part does not take the argument, and what to write instead."""
    if key in chosen.known.refused:
        return f"refused: {chosen.known.refused[key]}"
    if key in chosen.known.house:
        return f"{chosen.name} is given this by tftrain; leave it out"
    names = [*chosen.known.given, *options]
    expected = f"expected {one_of(names)}" if names else "it takes no arguments"
    return f"unknown argument of {chosen.name}; {expected}{did_you_mean(key, names)}"


INVALID = object()  # stands for a value that was reported already


class ErrorCollector:
    """Keeps each checked value with its place, and each problem."""

    def __init__(self):
        self._problems: list[tuple[SourceLocation, str]] = []
        self._values: dict[str, tuple[SourceLocation, Any]] = {}  # by key path

    def keep(self, place: SourceLocation, path: str, value: Any) -> Any:
        self._values[path] = (place, value)
        return value

    def report(self, place: SourceLocation, path: str, message: str) -> object:
        self._problems.append((place, format_error(place, path, message)))
        return INVALID

    def valid(self, paths: Sequence[str]) -> list | None:
        """The values at all of the key paths; None where one is missing or wrong."""
        values = [self._values[path][1] for path in paths if path in self._values]
        return (
            values
            if len(values) == len(paths)
            and not any(value is INVALID for value in values)
            else None
        )

    def place(self, path: str) -> SourceLocation:
        """Where the value at a key path stands, or the mapping that it would stand in."""
        return self._values[path if path in self._values else path.rpartition(".")[0]][
            0
        ]

    def places(self) -> dict[str, SourceLocation]:
        """Where each value stands, by its key path."""
        return {path: place for path, (place, _) in self._values.items()}

    def problems(self) -> list[str]:
        """The problems by file and line, those of flags last."""
        return [
            line
            for _, line in sorted(
                self._problems, key=lambda item: (item[0].line == 0, item[0])
            )
        ]
