"""A checked config as YAML: every value, the defaults filled in; enough to repeat the run."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

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
    written: dict[str, Any] = {}
    for one in dataclasses.fields(value):
        if one.metadata.get("hidden"):
            continue
        inner = _plain(getattr(value, one.name))
        if one.name == "source":  # a part with the options of its section beside its arguments
            written |= inner if isinstance(inner, dict) else {"name": inner}
        else:
            written[one.name] = inner
    return written


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{path}.{name}".lstrip(".")).items()}
