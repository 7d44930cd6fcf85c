"""A checked config as YAML: every value, the defaults filled in; enough to repeat the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import yaml

from tftrain import arguments
from tftrain.config import Config
from tftrain.parts import Part, plain

_ABSENT = type("_Absent", (), {"__str__": lambda self: "not there"})()


def dump(config: Config) -> str:
    """The resolved config as YAML text that `load` reads back to an equal config."""
    return yaml.safe_dump(_plain(config), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def changes(before: Config, after: Config) -> list[str]:
    """Where two configs differ, a line for each value: `key.path: old -> new`."""
    return list(_differences(_plain(before), _plain(after), ""))


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, Part):
        return plain(value)
    names = [one.name for one in dataclasses.fields(value) if not one.metadata.get("hidden")]
    written = {name: _plain(getattr(value, name)) for name in names}
    if isinstance(getattr(value, "source", None), Part):  # with the options of its section beside its arguments
        part, own = value.source.plain(), arguments.of(value.source.kind, value.source.target).given
        options = {name: inner for name, inner in written.items() if name != "source" and name not in own}
        return (part if isinstance(part, dict) else {"name": part}) | options
    return written


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if old == new:
        return
    before, after = _entries(old, new), _entries(new, old)
    if before is None or after is None:
        yield f"{path}: {old} -> {new}"
        return
    for key in [*before, *(key for key in after if key not in before)]:
        inner = f"{path}.{key}" if path else str(key)
        yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)


def _entries(value: Any, other: Any) -> dict | None:
    """What is inside of a value that is compared with another one; None where it must be told as a whole."""
    if value is _ABSENT and isinstance(other, (dict, list)) and other:
        return {}
    if isinstance(value, str) and isinstance(other, dict) and "name" in other:  # a part without arguments
        return {"name": value}
    if isinstance(value, list):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None
