"""A tree of nodes -> a checked Config; every problem is collected, so that one run shows them all."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from tftrain.config.component import Component
from tftrain.config.conversion import (
    MISMATCH,
    convert,
    describe_type,
    describe_value,
    mismatch_message,
    suggestion,
)
from tftrain.config.field_types import (
    ListOrItem,
    part_kind,
    union_members,
    unwrap_annotated,
)
from tftrain.config.resolution import (
    ResolvedComponent,
    UnknownComponent,
    expand_short_form,
    resolve_component,
    unknown_argument_message,
)
from tftrain.config.rules import RULES, rate_rules
from tftrain.config.schema import DEFAULT_EPOCHS, Config
from tftrain.config.signature import REQUIRED
from tftrain.config.yaml_parser import Node, SourceLocation, format_error
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.names import did_you_mean, one_of

# A section with this field is a component: its other fields stand beside the component's arguments.
_SOURCE = "source"


def validate(root: Node, source: str) -> Config:
    """Check a tree of nodes by the schema, and return it as a Config.

    Args:
        root: the tree.
        source: the name of the file.

    Raises:
        ConfigError: every problem of the config.
    """
    collector = ErrorCollector()
    config = Validator(collector).read_section(root, Config, "")
    (rate,) = collector.valid_values(["optimizer.learning_rate"]) or [None]
    for rule in (*RULES, *rate_rules(rate)):
        values = collector.valid_values(rule.needs)
        message = rule.find_problem(*values) if values else None
        if message:
            collector.report(collector.place(rule.path), rule.path, message)
    if collector.problems():
        raise ConfigError(collector.problems())
    if config.training.epochs is None and config.training.steps is None:
        training = dataclasses.replace(config.training, epochs=DEFAULT_EPOCHS)
        config = dataclasses.replace(config, training=training)
    return dataclasses.replace(config, source=source, places=collector.places())


class Validator:
    """Converts nodes by annotations, and passes every value and every problem to the collector."""

    def __init__(self, collector: ErrorCollector):
        self._keep = collector.keep
        self._report = collector.report

    def read_value(self, node: Node, hint: Any, path: str) -> Any:
        """Return one value converted by its annotation; INVALID if it has a problem, which is then reported.

        Args:
            node: the value as it was read.
            hint: the annotation.
            path: the key path.
        """
        value = convert(node, hint)
        if value is MISMATCH:
            value = self._read_nested(node, hint, path)
        return self._keep(node.place, path, value)

    def _read_nested(self, node: Node, hint: Any, path: str) -> Any:
        """Return a section, a component or a list by its annotation."""
        for member in union_members(hint):
            bare, marks = unwrap_annotated(member)
            if dataclasses.is_dataclass(bare):
                is_misspelled = isinstance(node.value, str) and suggestion(
                    node, hint
                )
                if not is_misspelled:
                    return self.read_section(node, bare, path)
            if part_kind(member) and isinstance(node.value, (str, dict)):
                return self._read_component(node, part_kind(member), hint, path)
            if get_origin(bare) in (list, tuple):
                is_list = isinstance(node.value, list)
                is_single_item = (
                    ListOrItem() in marks and node.value is not None
                )
                if is_list or is_single_item:
                    return self._read_list(node, bare, path)
        return self._report(node.place, path, mismatch_message(node, hint))

    def _read_list(self, node: Node, hint: Any, path: str) -> Any:
        if isinstance(node.value, list):
            items = node.value
            paths = [f"{path}.{index}" for index in range(len(items))]
        else:
            items = [node]
            paths = [path]
        hints = [item for item in get_args(hint) if item is not ...]
        if len(hints) == 1:
            hints *= len(items)
        elif len(hints) != len(items):
            message = (
                f"given a list of {len(items)}; expected a list of {len(hints)}"
            )
            return self._report(node.place, path, message)
        values = list(map(self.read_value, items, hints, paths))
        return INVALID if INVALID in values else values

    def read_section(self, node: Node, record: type, path: str) -> Any:
        """Return a mapping as a record of the schema; an empty node stands for the defaults.

        Args:
            node: the section as it was read.
            record: the dataclass.
            path: the key path.
        """
        hints = _hints(record)
        fields = _fields(record)
        kind = None
        if fields.pop(_SOURCE, None):
            kind = part_kind(hints[_SOURCE])
            node = expand_short_form(node)
        if not isinstance(node.value, (dict, type(None))):
            value_text = describe_value(node.value, node.text)
            expected = f"a mapping of {', '.join(fields)}"
            if kind:
                expected = describe_type(record)
            message = f"given {value_text}; expected {expected}"
            return self._report(node.place, path, message)
        values = {}
        entries = node.value or {}
        if kind:
            chosen = self._resolve(node, kind, hints[_SOURCE], path)
            own_arguments = chosen.known.given if chosen else {}
            options = [name for name in fields if name not in own_arguments]
            values[_SOURCE] = INVALID
            if chosen:
                values[_SOURCE] = self._make_component(chosen, path, options)
            entries = {
                key: entry for key, entry in entries.items() if key in options
            }
        for key, (place, _) in entries.items():
            if key not in fields:
                what = "key" if path else "section"
                message = f"unknown {what}; expected {one_of(fields)}{did_you_mean(key, fields)}"
                self._report(place, _join_path(path, key), message)
        for name, field in fields.items():
            entry = entries.get(name)
            field_path = _join_path(path, name)
            values[name] = self._read_field(
                field, hints[name], entry, node.place, field_path
            )
        return INVALID if INVALID in values.values() else record(**values)

    def _read_field(
        self,
        field: dataclasses.Field,
        hint: Any,
        entry: tuple | None,
        above: SourceLocation,
        path: str,
    ) -> Any:
        """Return the value of a field, or its default if there is none."""
        place = above
        if entry:
            place, node = entry
            if node.value is not None or not _has_empty_default(hint):
                return self.read_value(node, hint, path)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            expected = f"{describe_type(hint)} ({field.metadata['says']})"
            return self._report(place, path, f"missing; expected {expected}")
        if dataclasses.is_dataclass(default):
            return self.read_value(Node(None, place), hint, path)
        if isinstance(default, str) and part_kind(hint):
            return self.read_value(Node(default, place, default), hint, path)
        return self._keep(place, path, default)

    def _read_component(
        self, node: Node, kind: str, hint: Any, path: str
    ) -> Any:
        chosen = self._resolve(node, kind, hint, path)
        return self._make_component(chosen, path) if chosen else INVALID

    def _resolve(
        self, node: Node, kind: str, hint: Any, path: str
    ) -> ResolvedComponent | None:
        chosen = resolve_component(node, kind, hint)
        if isinstance(chosen, UnknownComponent):
            self._report(
                chosen.place, _join_path(path, chosen.key), chosen.message
            )
            return None
        return chosen

    def _make_component(
        self, chosen: ResolvedComponent, path: str, options: Sequence[str] = ()
    ) -> Any:
        """Return the component with its arguments checked; `options` are keys of its section beside these."""
        values = {}
        known = chosen.known.given
        for key, (place, node) in chosen.entries.items():
            key_path = _join_path(path, key)
            if key in known:
                values[key] = self.read_value(node, known[key].hint, key_path)
            elif key not in options:
                message = unknown_argument_message(key, chosen, options)
                values[key] = self._report(place, key_path, message)
        for name, argument in known.items():
            if argument.default is REQUIRED and name not in chosen.entries:
                message = f"missing; {chosen.name} needs {describe_type(argument.hint)}"
                key_path = _join_path(path, name)
                values[name] = self._report(chosen.place, key_path, message)
        if INVALID in values.values():
            return INVALID
        return Component(
            chosen.kind, chosen.name, chosen.target, values, chosen.place, path
        )


def _has_empty_default(hint: Any) -> bool:
    """Whether a key with nothing after it stands for the default: sections, components and lists of components."""
    if part_kind(hint):
        return True
    for member in union_members(hint):
        bare, marks = unwrap_annotated(member)
        if dataclasses.is_dataclass(bare) or ListOrItem() in marks:
            return True
    return False


@functools.cache
def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record, include_extras=True)


def _fields(record: type) -> dict[str, dataclasses.Field]:
    return {
        field.name: field
        for field in dataclasses.fields(record)
        if not field.metadata.get("hidden")
    }


def _join_path(path: str, key: str) -> str:
    if path and key:
        return f"{path}.{key}"
    return path or key


# In place of a value whose problem was reported.
INVALID = object()


class ErrorCollector:
    """Collects each checked value with its place, and each problem."""

    def __init__(self):
        self._problems: list[tuple[SourceLocation, str]] = []
        # By key path.
        self._values: dict[str, tuple[SourceLocation, Any]] = {}

    def keep(self, place: SourceLocation, path: str, value: Any) -> Any:
        """Store a value, and return it.

        Args:
            place: where it was read.
            path: its key path.
            value: the checked value, INVALID if it has a problem.
        """
        self._values[path] = (place, value)
        return value

    def report(self, place: SourceLocation, path: str, message: str) -> object:
        """Store a problem, and return INVALID.

        Args:
            place: where it is.
            path: the key path.
            message: what was given and what was expected.
        """
        self._problems.append((place, format_error(place, path, message)))
        return INVALID

    def valid_values(self, paths: Sequence[str]) -> list | None:
        """Return the values at all of these key paths; None if one of them is missing or invalid."""
        values = [
            self._values[path][1] for path in paths if path in self._values
        ]
        if len(values) < len(paths) or any(
            value is INVALID for value in values
        ):
            return None
        return values

    def place(self, path: str) -> SourceLocation:
        """Return where the value at a key path is, or the mapping that it belongs to."""
        if path not in self._values:
            path = path.rpartition(".")[0]
        place, _ = self._values[path]
        return place

    def places(self) -> dict[str, SourceLocation]:
        """Return where each value is, by its key path."""
        return {path: place for path, (place, _) in self._values.items()}

    def problems(self) -> list[str]:
        """Return the problems by file and line, those of flags last."""

        def order(problem: tuple[SourceLocation, str]) -> tuple:
            place, _ = problem
            return (place.line == 0, place)

        return [line for _, line in sorted(self._problems, key=order)]
