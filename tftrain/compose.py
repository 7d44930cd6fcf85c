"""One config out of a file, the files it builds upon (`base:`), and `--set` flags; a later value wins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrain.strict import ConfigError, Node, Place, parse, problem


def compose(path: Path, overrides: Sequence[str] = ()) -> Node:
    """Raises ConfigError for files and flags that cannot be read."""
    node = _read(path, ())
    problems = []
    for text in overrides:
        try:
            node = merged(node, _flag(text, node))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return node


def _read(path: Path, above: tuple[Path, ...]) -> Node:
    place = Place(str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([problem(place, "", f"not UTF-8 text (byte {error.start})")]) from None
    except OSError as error:
        raise ConfigError([problem(place, "", f"cannot be read: {error.strerror or error}")]) from None
    node = parse(text, str(path))
    if not isinstance(node.value, dict):
        raise ConfigError([problem(node.place, "", "expected sections such as 'model: ...' and 'data: ...'")])
    if "base" not in node.value:
        return node
    _, base = node.value["base"]
    if not isinstance(base.value, str):
        raise ConfigError([problem(base.place, "base", "expected the path of a config file")])
    below = path.parent / base.value
    if below.resolve() in [one.resolve() for one in (*above, path)]:
        raise ConfigError([problem(base.place, "base", f"'{base.value}' builds upon itself")])
    if not below.is_file():
        raise ConfigError([problem(base.place, "base", f"there is no file '{below}'")])
    own = Node({key: pair for key, pair in node.value.items() if key != "base"}, node.place)
    return merged(_read(below, (*above, path)), own)


def merged(below: Node, above: Node) -> Node:
    """Mappings are merged key by key, all else is replaced; naming another part starts its section afresh."""
    if not isinstance(above.value, dict) or _name(above) not in (None, _name(below)):
        return above
    if isinstance(below.value, str) and above.value:
        below = Node({"name": (below.place, below)}, below.place)
    if not isinstance(below.value, dict):
        return above
    entries = dict(below.value)
    for key, (place, node) in above.value.items():
        entries[key] = (place, merged(entries[key][1], node) if key in entries else node)
    return Node(entries, below.place if below.place.line else above.place)


def _name(node: Node) -> str | None:
    if isinstance(node.value, dict):
        return node.value["name"][1].value if "name" in node.value else None
    return node.value if isinstance(node.value, str) else None


def _flag(text: str, root: Node) -> Node:
    """'a.b=1' -> {a: {b: 1}}, with the flag itself as the place of everything in it."""
    source = f"--set {text}"
    place = Place(source)
    path, equals, written = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError([problem(place, "", "expected KEY.PATH=VALUE")])
    try:
        value = _at(parse(written, source), place) if written.strip() else Node(None, place)
    except ConfigError as error:
        message = error.problems[0].removeprefix(f"{source}:").lstrip("0123456789: ")
        raise ConfigError([problem(place, "", message)]) from None
    return _nested(keys, value, place, root)


def _nested(keys: list[str], value: Node, place: Place, below: Node | None) -> Node:
    """The value under its keys; a number steps into a list that is already there."""
    if not keys:
        return value
    key, *rest = keys
    if below is not None and isinstance(below.value, list):
        if not key.isdigit() or int(key) >= len(below.value):
            message = f"'{key}' steps into a list; expected a number from 0 to {len(below.value) - 1}"
            raise ConfigError([problem(place, "", message)])
        items = list(below.value)
        inner = _nested(rest, value, place, items[int(key)])
        items[int(key)] = merged(items[int(key)], inner)
        return Node(items, below.place)
    entries = below.value if below is not None and isinstance(below.value, dict) else {}
    inner = _nested(rest, value, place, entries[key][1] if key in entries else None)
    return Node({key: (place, inner)}, place)


def _at(node: Node, place: Place) -> Node:
    if isinstance(node.value, dict):
        return Node({key: (place, _at(value, place)) for key, (_, value) in node.value.items()}, place)
    if isinstance(node.value, list):
        return Node([_at(value, place) for value in node.value], place)
    return Node(node.value, place, node.text)


def flags(overrides: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Overrides as `--set` writes them: {"training.epochs": 3} -> ["training.epochs=3"]."""
    if isinstance(overrides, Mapping):
        return [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    return list(overrides)
