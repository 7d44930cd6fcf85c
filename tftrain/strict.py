"""YAML text -> a tree of nodes that know where they stand; YAML 1.2 scalars, nothing executable, nothing twice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

MAX_DEPTH = 50
MAX_NODES = 100_000


class Place(NamedTuple):
    """Where something stands: a line and column of a file, or a flag of the command line (line 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Node:
    """A scalar, a list of nodes, or a mapping of key -> (place of the key, node)."""

    value: Any
    place: Place
    text: str = ""  # the scalar as it was written


class ConfigError(ValueError):
    """Everything that is wrong with a config, one line each."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


def problem(place: Place, path: str, message: str) -> str:
    return f"{place}: {path}: {message}" if path else f"{place}: {message}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as "; did you mean 'adam'?", empty where nothing is near."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), by_lower, 1, 0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


_RESOLVERS = [
    (re.compile(r"(?:null|Null|NULL|~|)"), lambda text: None),
    (re.compile(r"(?:true|True|TRUE)"), lambda text: True),
    (re.compile(r"(?:false|False|FALSE)"), lambda text: False),
    (re.compile(r"[-+]?(?:0|[1-9][0-9_]*)"), lambda text: int(text.replace("_", ""))),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (
        re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
        lambda text: text if re.match(r"[-+]?0[0-9]", text) else float(text.replace("_", "")),
    ),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(?:nan|NaN|NAN)"), lambda text: float("nan")),
]


# What PyYAML itself takes plain scalars for; which of our own values they are is decided by _RESOLVERS.
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")


def parse(text: str, source: str) -> Node:
    """Read one YAML document; raises ConfigError with the place of whatever is wrong."""
    try:
        _refuse_depth(text, source)
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)
        raise ConfigError([problem(place, "", f"not valid YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([problem(Place(source, 1, 1), "", f"not valid YAML: {str(error).splitlines()[0]}")]) from None
    if len(documents) > 1:
        second = documents[1].start_mark
        place = Place(source, second.line + 1, second.column + 1)
        raise ConfigError([problem(place, "", "a second document begins here; a config is one document")])
    if not documents or documents[0] is None:
        raise ConfigError([problem(Place(source, 1, 1), "", "empty; expected sections such as 'model' and 'data'")])
    return _Builder(source).build(documents[0])


def _refuse_depth(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            place = Place(source, event.start_mark.line + 1, event.start_mark.column + 1)
            raise ConfigError([problem(place, "", f"nested deeper than {MAX_DEPTH} levels")])


class _Builder:
    """Turns PyYAML's nodes into ours; counts them, so that nested aliases cannot explode."""

    def __init__(self, source: str):
        self.source = source
        self.problems: list[str] = []
        self.count = 0

    def build(self, root: yaml.Node) -> Node:
        node = self._node(root, ())
        if self.problems:
            raise ConfigError(self.problems)
        return node

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.source, node.start_mark.line + 1, node.start_mark.column + 1)

    def _node(self, node: yaml.Node, above: tuple) -> Node:
        self.count += 1
        place = self._place(node)
        if self.count > MAX_NODES:
            raise ConfigError([problem(place, "", f"more than {MAX_NODES} values once its aliases are filled in")])
        if any(node is parent for parent in above):
            raise ConfigError([problem(place, "", "an alias that contains itself")])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        self._refuse_tag(node, place, ("map", "seq"))
        if isinstance(node, yaml.SequenceNode):
            return Node([self._node(child, (*above, node)) for child in node.value], place)
        return Node(self._mapping(node, above), place)

    def _mapping(self, node: yaml.MappingNode, above: tuple) -> dict[str, tuple[Place, Node]]:
        entries: dict[str, tuple[Place, Node]] = {}
        for key, value in node.value:
            place = self._place(key)
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(problem(place, "", "a key is a list or a mapping; expected a name"))
                continue
            name = key.value
            if name in entries:
                first = entries[name][0].line
                self.problems.append(problem(place, name, f"given twice (first on line {first}); expected once"))
                continue
            entries[name] = (place, self._node(value, (*above, node)))
        return entries

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Node:
        plain = node.style is None
        self._refuse_tag(node, place, _PLAIN_TAGS if plain else ("str",))
        if plain:
            for pattern, read in _RESOLVERS:
                if pattern.fullmatch(node.value):
                    return Node(read(node.value), place, node.value)
        return Node(node.value, place, node.value)

    def _refuse_tag(self, node: yaml.Node, place: Place, allowed: tuple[str, ...]) -> None:
        if node.tag not in [f"tag:yaml.org,2002:{name}" for name in allowed]:
            shown = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.problems.append(problem(place, "", f"the tag {shown} is refused; a config holds plain values only"))
