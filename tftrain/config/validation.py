"""A tree of nodes -> a checked Config; every problem is collected, so that one run shows them all."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from tftrain.config.choose import Chosen, Unchosen, choose, spread, unwanted
from tftrain.config.component import Part
from tftrain.config.conversion import Wrong, advice, convert
from tftrain.config.field_types import Many, members, part_kind, split
from tftrain.config.findings import INVALID, Findings
from tftrain.config.rules import RULES, rate_rules
from tftrain.config.schema import DEFAULT_EPOCHS, Config
from tftrain.config.signature import REQUIRED
from tftrain.config.wording import describe, given
from tftrain.config.yaml_parser import ConfigError, Node, Place
from tftrain.runtime.names import nearest, one_of

_SOURCE = "source"  # the field of a section that is a part, with the section's other fields beside its arguments


def check(root: Node, source: str) -> Config:
    """Raises ConfigError with every problem of the config."""
    findings = Findings()
    found = Checker(findings).section(root, Config, "")
    (rate,) = findings.valid(["optimizer.learning_rate"]) or [None]
    for rule in (*RULES, *rate_rules(rate)):
        values = findings.valid(rule.needs)
        broken = rule.broken(*values) if values else None
        if broken:
            findings.report(findings.place(rule.blamed), rule.blamed, broken)
    if findings.problems():
        raise ConfigError(findings.problems())
    if found.training.epochs is None and found.training.steps is None:
        found = dataclasses.replace(found, training=dataclasses.replace(found.training, epochs=DEFAULT_EPOCHS))
    return dataclasses.replace(found, source=source, places=findings.places())


class Checker:
    """Converts nodes by annotations, and hands every value and every problem to the findings."""

    def __init__(self, findings: Findings):
        self._keep, self._report = findings.keep, findings.report

    def value(self, node: Node, hint: Any, path: str) -> Any:
        """One value by its annotation; a problem is reported and stands as INVALID."""
        return self._keep(node.place, path, self._read(node, hint, path))

    def _read(self, node: Node, hint: Any, path: str) -> Any:
        try:
            return convert(node, hint)
        except Wrong as wrong:
            message = str(wrong)
        for member in members(hint):
            bare, marks = split(member)
            if dataclasses.is_dataclass(bare) and not (isinstance(node.value, str) and advice(node, hint)):
                return self.section(node, bare, path)
            if part_kind(member) and isinstance(node.value, (str, dict)):
                chosen = self._chosen(node, part_kind(member), hint, path)
                return self._filled(chosen, path) if chosen else INVALID
            single = Many() in marks and node.value is not None
            if get_origin(bare) in (list, tuple) and (single or isinstance(node.value, list)):
                return self._list(node, bare, path)
        return self._report(node.place, path, message)

    def _list(self, node: Node, hint: Any, path: str) -> Any:
        if not isinstance(node.value, list):  # one value stands for a list of one
            items, paths = [node], [path]
        else:
            items, paths = node.value, [f"{path}.{index}" for index in range(len(node.value))]
        hints = [one for one in get_args(hint) if one is not ...]
        if len(hints) == 1:
            hints *= len(items)
        elif len(hints) != len(items):
            return self._report(node.place, path, f"given a list of {len(items)}; expected a list of {len(hints)}")
        found = [self.value(*one) for one in zip(items, hints, paths, strict=True)]
        return INVALID if INVALID in found else found

    def section(self, node: Node, record: type, path: str) -> Any:
        """A mapping -> a record of the schema; nothing at all stands for its defaults."""
        hints, fields = _hints(record), _fields(record)
        kind = part_kind(hints[_SOURCE]) if fields.pop(_SOURCE, None) else None
        node = spread(node) if kind else node
        if not isinstance(node.value, (dict, type(None))):
            expected = describe(record) if kind else f"a mapping of {', '.join(fields)}"
            return self._report(node.place, path, f"given {given(node.value, node.text)}; expected {expected}")
        values, entries = {}, node.value or {}
        if kind:
            chosen = self._chosen(node, kind, hints[_SOURCE], path)
            options = [name for name in fields if not chosen or name not in chosen.known.given]
            values[_SOURCE] = self._filled(chosen, path, options) if chosen else INVALID
            entries = {key: pair for key, pair in entries.items() if key in options}
        for key in (key for key in entries if key not in fields):
            message = f"unknown {'key' if path else 'section'}; expected {one_of(fields)}{nearest(key, fields)}"
            self._report(entries[key][0], _join(path, key), message)
        for name, field in fields.items():
            values[name] = self._field(field, hints[name], entries.get(name), node.place, _join(path, name))
        return INVALID if INVALID in values.values() else record(**values)

    def _field(self, field: dataclasses.Field, hint: Any, entry: tuple | None, above: Place, path: str) -> Any:
        """The value of a field: the one given, else its default."""
        place, node = entry or (above, Node(None, above))
        if entry and not (node.value is None and _has_empty_default(hint)):
            return self.value(node, hint, path)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is dataclasses.MISSING:
            return self._report(place, path, f"missing; expected {describe(hint)} ({field.metadata['says']})")
        if dataclasses.is_dataclass(default):
            return self.value(Node(None, place), hint, path)
        if isinstance(default, str) and part_kind(hint):
            return self.value(Node(default, place, default), hint, path)
        return self._keep(place, path, default)

    def _chosen(self, node: Node, kind: str, hint: Any, path: str) -> Chosen | None:
        try:
            return choose(node, kind, hint)
        except Unchosen as error:
            self._report(error.place, _join(path, error.key), str(error))
            return None

    def _filled(self, chosen: Chosen, path: str, options: Sequence[str] = ()) -> Any:
        """The part with its arguments checked; `options` are the keys beside them that belong to its section."""
        values, known = {}, chosen.known.given
        for key, (place, node) in chosen.entries.items():
            if key in known:
                values[key] = self.value(node, known[key].hint, _join(path, key))
            elif key not in options:
                values[key] = self._report(place, _join(path, key), unwanted(key, chosen, options))
        for name, argument in known.items():
            if argument.default is REQUIRED and name not in chosen.entries:
                message = f"missing; {chosen.name} needs {describe(argument.hint)}"
                values[name] = self._report(chosen.place, _join(path, name), message)
        if INVALID in values.values():
            return INVALID
        return Part(chosen.kind, chosen.name, chosen.target, values, chosen.place, path)


def _has_empty_default(hint: Any) -> bool:
    """Whether a key with nothing after it stands for the default: sections, parts and lists of parts."""
    return bool(part_kind(hint)) or any(
        dataclasses.is_dataclass(bare) or Many() in marks for bare, marks in map(split, members(hint))
    )


@functools.cache
def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record, include_extras=True)


def _fields(record: type) -> dict[str, dataclasses.Field]:
    return {one.name: one for one in dataclasses.fields(record) if not one.metadata.get("hidden")}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key
