"""A checked config as YAML: every value, the defaults filled in; enough to repeat the run."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from tftrain import arguments
from tftrain.config import Config
from tftrain.parts import Part, plain


def dump(config: Config) -> str:
    """The resolved config as YAML text that `load` reads back to an equal config."""
    return yaml.safe_dump(_plain(config), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def changes(before: Config, after: Config) -> list[str]:
    """Where two configs differ, a line each: `key.path: old -> new`."""
    old, new = _flat(_plain(before)), _flat(_plain(after))
    paths = [*old, *(path for path in new if path not in old)]
    return [
        f"{path}: {old.get(path, 'not there')} -> {new.get(path, 'not there')}"
        for path in paths
        if old.get(path) != new.get(path)
    ]


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


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{path}.{name}" if path else name)
    return found
