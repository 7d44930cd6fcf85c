"""A checked config as YAML: every value, the defaults filled in; enough to repeat the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import yaml

from tftrain.config import arguments
from tftrain.config.component import Part, plain
from tftrain.config.schema import Config

NOT_SETTINGS = ("log", "checkpoint")  # what is written, and what is kept
ABSENT = type("_Absent", (), {"__str__": lambda self: "not there"})()  # stands for a value that there is not


def dump(config: Config) -> str:
    """The resolved config as YAML text that `load` reads back to an equal config."""
    return yaml.safe_dump(_plain(config), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def settings(config: Config) -> dict[str, bool | float | str]:
    """All that the numbers of a run come of, by key path; a part's path has its name, and its arguments are within."""
    sections = {name: section for name, section in _plain(config).items() if name not in NOT_SETTINGS}
    return dict(_leaves(sections, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, bool | float | str]]:
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        names = [one.get("name") if isinstance(one, dict) else one for one in value]
        if len(value) > 1 and None not in names:  # groups of parameters have none
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
        yield path, ", ".join("none" if word is None else str(word) for word in words) or "none"


def changes(before: Config, after: Config) -> list[str]:
    """Where two configs differ, a line for each value: `key.path: old -> new`."""
    found = differences(_plain(before), _plain(after))
    return [f"{'.'.join(path)}: {old} -> {new}" for path, old, new in found]


def differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two configs as plain values differ: the key path, and the value in either."""
    if old == new:
        return
    before, after = _entries(old, new), _entries(new, old)
    if before is None or after is None:
        yield path, old, new
        return
    for key in [*before, *(key for key in after if key not in before)]:
        yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), (*path, str(key)))


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


def _entries(value: Any, other: Any) -> dict | None:
    """What is inside of a value that is compared with another one; None where it must be told as a whole."""
    if value is ABSENT and isinstance(other, (dict, list)) and other:
        return {}
    if isinstance(value, str) and isinstance(other, dict) and "name" in other:  # a part without arguments
        return {"name": value}
    if isinstance(value, list):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None
