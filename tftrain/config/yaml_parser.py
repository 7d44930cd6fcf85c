"""YAML text -> a tree of nodes that know where they stand; YAML 1.2 scalars, nothing executable, nothing twice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import yaml

from tftrain.runtime.errors import ConfigError
from tftrain.runtime.terminal import one_line

MAX_DEPTH = 50
MAX_NODES = 100_000
MAX_DIGITS = 100  # of a number


class SourceLocation(NamedTuple):
    """Where something stands: a line and column of a file, or a flag of the command line (line 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return (
            f"{self.source}:{self.line}:{self.column}"
            if self.line
            else self.source
        )


@dataclass(frozen=True)
class Node:
    """A scalar, a list of nodes, or a mapping of key -> (place of the key, node)."""

    value: Any
    place: SourceLocation
    text: str = ""  # the scalar as it was written


def format_error(place: SourceLocation, path: str, message: str) -> str:
    """One line; what a terminal would not print is escaped, and the middle of one that is too long left out."""
    line = f"{place}: {path}: {message}" if path else f"{place}: {message}"
    return one_line(line)


_RESOLVERS = [
    (re.compile(r"(?:null|Null|NULL|~|)"), lambda text: None),
    (re.compile(r"(?:true|True|TRUE)"), lambda text: True),
    (re.compile(r"(?:false|False|FALSE)"), lambda text: False),
    (
        re.compile(r"[-+]?(?:0|[1-9][0-9_]*)"),
        lambda text: int(text.replace("_", "")),
    ),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        ),
        lambda text: (
            text
            if re.match(r"[-+]?0[0-9]", text)
            else float(text.replace("_", ""))
        ),
    ),
    (
        re.compile(r"[-+]?\.(?:inf|Inf|INF)"),
        lambda text: float(text.replace(".", "")),
    ),
    (re.compile(r"\.(?:nan|NaN|NAN)"), lambda text: float("nan")),
]

# What PyYAML itself takes plain scalars for; which of our own values they are is decided by _RESOLVERS.
_PLAIN_TAGS = (
    "str",
    "int",
    "float",
    "bool",
    "null",
    "timestamp",
    "merge",
    "value",
)

# PyYAML's words for the commonest slips say little to those who made them.
_HINTS = {
    r"found character '\\t'": "; indent with spaces, not with tabs",
    r"that cannot start any token": "; put text that begins with it in quotes",
    r"mapping values are not allowed": "; a space or a quote is missing, or the indentation is off",
}


def read_scalar(text: str) -> Any:
    """The value that a scalar without quotes stands for in YAML 1.2; numbers may hold underscores."""
    if len(text) <= MAX_DIGITS:
        for pattern, read in _RESOLVERS:
            if pattern.fullmatch(text):
                return read(text)
    return text


def parse(text: str, source: str, lines: bool = True) -> Node:
    """Read one YAML document; raises ConfigError with the place of whatever is wrong.

    Without `lines` the source alone is the place of everything, as it is for a flag of the command line.
    """
    builder = _Builder(source, lines)
    try:
        builder.refuse_depth(yaml.parse(text, Loader=yaml.SafeLoader))
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        message = f"not valid YAML: {error.problem or error.context}"
        hint = next(
            (
                hint
                for pattern, hint in _HINTS.items()
                if re.search(pattern, message)
            ),
            "",
        )
        builder.stop(error.problem_mark or error.context_mark, message + hint)
    except yaml.reader.ReaderError as error:
        message = f"not valid YAML: the character {chr(error.character)!r} is not allowed"
        builder.stop(_mark(text, error.position), message)
    except ConfigError:
        raise
    except (ValueError, OverflowError):  # out of PyYAML's chr()
        builder.stop(
            None,
            'not valid YAML: an escape such as "\\UFFFFFFFF" stands for no character',
        )
    if len(documents) > 1:
        builder.stop(
            documents[1].start_mark,
            "a second document begins here; expected one document",
        )
    if not documents or documents[0] is None:
        builder.stop(
            None,
            "empty; expected sections such as 'model: ...' and 'data: ...'",
        )
    return builder.build(documents[0])


class _Builder:
    """Turns PyYAML's nodes into ours; counts them, so that nested aliases cannot explode."""

    def __init__(self, source: str, lines: bool):
        self._source, self._lines = source, lines
        self._problems: list[str] = []
        self._count = 0

    def build(self, root: yaml.Node) -> Node:
        node = self._node(root, ())
        if self._problems:
            raise ConfigError(self._problems)
        return node

    def stop(self, mark: yaml.Mark | None, message: str) -> NoReturn:
        raise ConfigError([format_error(self._place(mark), "", message)])

    def refuse_depth(self, events: Iterable[yaml.Event]) -> None:
        """PyYAML composes by recursion, so what is too deep for Python must be found before."""
        depth = 0
        for event in events:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if depth > MAX_DEPTH:
                self.stop(
                    event.start_mark, f"nested deeper than {MAX_DEPTH} levels"
                )

    def _place(self, mark: yaml.Mark | None) -> SourceLocation:
        if not self._lines:
            return SourceLocation(self._source)
        return (
            SourceLocation(self._source, mark.line + 1, mark.column + 1)
            if mark
            else SourceLocation(self._source, 1, 1)
        )

    def _report(self, node: yaml.Node, message: str, key: str = "") -> None:
        self._problems.append(
            format_error(self._place(node.start_mark), key, message)
        )

    def _node(self, node: yaml.Node, above: tuple) -> Node:
        self._count += 1
        if self._count > MAX_NODES:
            self.stop(
                node.start_mark,
                f"more than {MAX_NODES} values once its aliases are filled in",
            )
        if any(node is parent for parent in above):
            self.stop(node.start_mark, "an alias that contains itself")
        if len(above) > MAX_DEPTH:
            self.stop(
                node.start_mark,
                f"nested deeper than {MAX_DEPTH} levels once its aliases are filled in",
            )
        place = self._place(node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            plain = node.style is None
            self._refuse_tag(node, _PLAIN_TAGS if plain else ("str",))
            return Node(
                read_scalar(node.value) if plain else node.value,
                place,
                node.value,
            )
        self._refuse_tag(node, ("map", "seq"))
        if isinstance(node, yaml.SequenceNode):
            return Node(
                [self._node(child, (*above, node)) for child in node.value],
                place,
            )
        return Node(self._mapping(node, above), place)

    def _mapping(
        self, node: yaml.MappingNode, above: tuple
    ) -> dict[str, tuple[SourceLocation, Node]]:
        entries: dict[str, tuple[SourceLocation, Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                self._report(
                    key, f"given {_shape(key)} as a key; expected a name"
                )
            elif key.value in entries:
                first = entries[key.value][0]
                self._report(
                    key,
                    f"given twice (first on line {first.line}); expected once",
                    key.value,
                )
            elif key.value == "<<":
                self._report(
                    key,
                    "merge keys are not read; write the values out, or share them by a base: file",
                    "<<",
                )
            else:
                self._refuse_tag(key, _PLAIN_TAGS)
                entries[key.value] = (
                    self._place(key.start_mark),
                    self._node(value, (*above, node)),
                )
        return entries

    def _refuse_tag(self, node: yaml.Node, allowed: tuple[str, ...]) -> None:
        if node.tag not in [f"tag:yaml.org,2002:{name}" for name in allowed]:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._report(
                node, f"the tag {tag} is refused; expected plain values only"
            )


def _mark(text: str, index: int) -> yaml.Mark:
    return yaml.Mark(
        "",
        index,
        text.count("\n", 0, index),
        index - text.rfind("\n", 0, index) - 1,
        None,
        0,
    )


def _shape(node: yaml.Node) -> str:
    return {"sequence": "a list", "mapping": "a mapping", "scalar": "nothing"}[
        node.id
    ]
