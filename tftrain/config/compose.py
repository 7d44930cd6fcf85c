"""One config out of a file, the files it builds upon (`base:`), and `--set` flags; a later value wins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrain.config.config_file import parse_file
from tftrain.config.conversion import describe_value
from tftrain.config.former_names import with_current_names
from tftrain.config.yaml_parser import Node, SourceLocation, format_error, parse
from tftrain.runtime import untrusted
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.untrusted import Unreadable

MAX_BASES = 50  # files that build upon one another
_ALTERNATIVES = {"training": ("epochs", "steps")}  # two ways to say one thing


def read_config(path: Path, overrides: Sequence[str] = ()) -> Node:
    """Raises ConfigError for files and flags that cannot be read."""
    node = _read(path, ())
    problems = []
    for text in overrides:
        try:
            override = with_current_names(_flag(text, node), node)
            node = merge(node, override)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return node


def to_overrides(overrides: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Overrides as `--set` writes them: {"training.epochs": 3} -> ["training.epochs=3"]; NumPy's numbers will do."""
    if isinstance(overrides, Mapping):
        return [f"{key}={_written(value)}" for key, value in overrides.items()]
    return [overrides] if isinstance(overrides, str) else list(overrides)


def _written(value: Any) -> str:
    """A value as YAML; NumPy's numbers will do."""
    return json.dumps(
        value, ensure_ascii=False, default=lambda number: number.item()
    )


def merge(below: Node, above: Node) -> Node:
    """Mappings are merged key by key, all else is replaced; naming another part starts its section afresh.

    Of two ways to say one thing, such as `training.epochs` and `training.steps`, that of the later config stands.
    """
    if not isinstance(above.value, dict) or _name(above) not in (
        None,
        _name(below),
    ):
        return above
    if isinstance(below.value, str) and above.value:
        below = Node({"name": (below.place, below)}, below.place)
    if not isinstance(below.value, dict):
        return above
    entries = dict(below.value)
    for key, (place, node) in above.value.items():
        if key in entries:
            previous = _without_alternatives(
                entries[key][1], node, _ALTERNATIVES.get(key, ())
            )
            node = merge(previous, node)
        entries[key] = (place, node)
    return Node(entries, below.place if below.place.line else above.place)


def _without_alternatives(
    below: Node, above: Node, names: Sequence[str]
) -> Node:
    """The section below, without what the section above says in another of these ways."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return below
    chosen = {
        name
        for name in names
        if name in above.value and above.value[name][1].value is not None
    }
    if not chosen:
        return below
    entries = {
        key: entry
        for key, entry in below.value.items()
        if key not in names or key in chosen
    }
    return Node(entries, below.place)


def _name(node: Node) -> Any:
    if isinstance(node.value, dict):
        return node.value["name"][1].value if "name" in node.value else None
    return node.value if isinstance(node.value, str) else None


def _read(path: Path, above: tuple[Path, ...]) -> Node:
    node = parse_file(path)
    if "base" not in node.value:
        return with_current_names(node)
    below = _read(_base(node.value["base"][1], path, above), (*above, path))
    # A section left empty says nothing, so what the base says of it stands; one that the base lacks is checked.
    entries = {
        key: pair
        for key, pair in node.value.items()
        if key != "base"
        and (pair[1].value is not None or key not in below.value)
    }
    return merge(below, with_current_names(Node(entries, node.place), below))


def _base(node: Node, path: Path, above: tuple[Path, ...]) -> Path:
    """The file that `path` builds upon."""
    if not isinstance(node.value, str):
        message = f"given {describe_value(node.value, node.text)}; expected the path of a config file"
        raise ConfigError([format_error(node.place, "base", message)])
    below = path.parent / node.value
    try:
        untrusted.check_path(node.value)
        if untrusted.real_path(below) in [
            untrusted.real_path(file) for file in (*above, path)
        ]:
            raise ConfigError(
                [
                    format_error(
                        node.place, "base", f"'{node.value}' builds upon itself"
                    )
                ]
            )
        if not untrusted.is_file(below):
            raise ConfigError(
                [
                    format_error(
                        node.place, "base", f"there is no file '{below}'"
                    )
                ]
            )
        untrusted.open_file(below).close()
    except Unreadable as error:
        raise ConfigError(
            [format_error(node.place, "base", str(error))]
        ) from None
    if len(above) >= MAX_BASES:
        raise ConfigError(
            [
                format_error(
                    node.place,
                    "base",
                    f"more than {MAX_BASES} files build upon one another",
                )
            ]
        )
    return below


def _flag(text: str, root: Node) -> Node:
    """'a.b=1' -> {a: {b: 1}}, with the flag itself as the place of everything in it."""
    source = f"--set {text}"
    path, _, written = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not written.strip() or not all(keys):
        raise ConfigError(
            [
                format_error(
                    SourceLocation(source),
                    "",
                    "expected KEY.PATH=VALUE, such as training.epochs=3",
                )
            ]
        )
    return _nested(keys, parse(written, source, lines=False), root)


def _nested(keys: list[str], value: Node, below: Node | None) -> Node:
    """The value under its keys; a number steps into a list that is already there."""
    if not keys:
        return value
    key, *remaining = keys
    if below is not None and isinstance(below.value, list):
        return _item(key, remaining, value, below)
    entries = (
        below.value
        if below is not None and isinstance(below.value, dict)
        else {}
    )
    inner = _nested(
        remaining, value, entries[key][1] if key in entries else None
    )
    return Node({key: (value.place, inner)}, value.place)


def _item(key: str, remaining: list[str], value: Node, below: Node) -> Node:
    """The list with the value inside one of its items."""
    items = list(below.value)
    numbers = [str(number) for number in range(len(items))]
    if key not in numbers:
        expected = (
            f"a number from 0 to {numbers[-1]}"
            if numbers
            else "no key, for the list is empty"
        )
        raise ConfigError(
            [
                format_error(
                    value.place,
                    "",
                    f"'{key}' steps into a list; expected {expected}",
                )
            ]
        )
    inner = _nested(remaining, value, items[int(key)])
    items[int(key)] = merge(items[int(key)], inner)
    return Node(items, below.place)
