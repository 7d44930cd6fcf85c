"""Plain values by their annotations: words, numbers, stretches of training, lists of anything."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from tftrain.config.field_types import (
    ComponentOf,
    DurationType,
    Range,
    Regex,
    kind_in_words,
    parse_time,
    part_kind,
    pattern_error,
    union_members,
    unwrap_annotated,
)
from tftrain.config.yaml_parser import Node, SourceLocation, read_scalar
from tftrain.runtime.names import did_you_mean, with_article

# What `convert` returns for a value that its annotation does not allow.
MISMATCH = object()

# Whole numbers are below this: TensorFlow holds them as int64.
_LARGEST = 2**63
_YES = ("yes", "on", "y")
_NO = ("no", "off", "n")


def convert(node: Node, hint: Any) -> Any:
    """Return a plain value converted by its annotation, MISMATCH if the annotation does not allow it.

    Components, sections, and lists of these are converted by `validation`.

    Args:
        node: the value as it was read.
        hint: the annotation.
    """
    for member in union_members(hint):
        value = _convert_member(node, member)
        if value is not MISMATCH:
            return value
    return MISMATCH


def mismatch_message(node: Node, hint: Any) -> str:
    """Return what was given, what was expected, and how to write what was probably meant.

    Args:
        node: the value as it was read.
        hint: the annotation.
    """
    return f"given {describe_value(node.value, node.text)}; expected {describe_type(hint)}{suggestion(node, hint)}"


def suggestion(node: Node, hint: Any) -> str:
    """Return how to write what was probably meant, empty if that is unknown.

    Args:
        node: the value as it was read.
        hint: the annotation.
    """
    value = node.value
    choices = union_members(hint)
    for member in choices:
        items = get_args(member) if get_origin(member) in (list, tuple) else ()
        if len(items) == 1 and value is not None and fits(value, *items):
            return f"; write [{node.text}]"
    if not isinstance(value, str):
        if part_kind(choices[0]):
            return "; write its name, or {name: ...} with its arguments"
        return ""
    marks = [mark for member in choices for mark in unwrap_annotated(member)[1]]
    is_pattern = any(isinstance(mark, Regex) for mark in marks)
    if is_pattern and pattern_error(value):
        return f"; {pattern_error(value)}"
    if bool in choices and value.lower() in _YES:
        return "; write true"
    if bool in choices and value.lower() in _NO:
        return "; write false"
    if type(None) in choices and value.lower() in ("none", "nil"):
        return "; write null"
    if fits(read_scalar(value), hint):
        return f"; write {value} without quotes"
    number = re.sub(r"^([-+]?)0+(?=\d)", r"\1", value.replace(",", ""))
    if not isinstance(read_scalar(number), str) and fits(
        read_scalar(number), hint
    ):
        return f"; write {number}"
    words = [word for member in choices for word in _words_of(member)]
    return did_you_mean(value, words)


def to_plain(node: Node) -> Any:
    """Return the value of a node without its places."""
    if isinstance(node.value, list):
        return [to_plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: to_plain(item) for key, (_, item) in node.value.items()}
    return node.value


def fits(value: Any, hint: Any) -> bool:
    """Return whether an annotation allows a scalar.

    Args:
        value: the scalar.
        hint: the annotation.
    """
    node = Node(value, SourceLocation(""))
    return convert(node, hint) is not MISMATCH


def _convert_member(node: Node, hint: Any) -> Any:
    bare, marks = unwrap_annotated(hint)
    for mark in marks:
        if isinstance(mark, DurationType):
            return _convert_duration(node.value, mark)
    if bare is Any:
        is_component = any(isinstance(mark, ComponentOf) for mark in marks)
        return MISMATCH if is_component else to_plain(node)
    if get_origin(bare) is Literal:
        return _convert_literal(node.value, get_args(bare))
    if bare is None or bare is type(None):
        return None if node.value is None else MISMATCH
    if bare in (int, float):
        return _convert_number(
            node, bare, [mark for mark in marks if isinstance(mark, Range)]
        )
    if isinstance(node.value, str) and any(
        isinstance(mark, Regex) for mark in marks
    ):
        return MISMATCH if pattern_error(node.value) else node.value
    expected_type = bare
    if bare is tuple:
        expected_type = list
    elif get_origin(bare) is dict:
        expected_type = dict
    is_plain = expected_type in (bool, str, list, dict)
    if is_plain and isinstance(node.value, expected_type):
        return to_plain(node)
    return MISMATCH


def _convert_literal(value: Any, words: tuple) -> Any:
    for word in words:
        # 1 == True, so that the types are compared too.
        if value == word and type(value) is type(word):
            return value
    return MISMATCH


def _convert_number(
    node: Node, expected_type: type, ranges: list[Range]
) -> Any:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return MISMATCH
    if not math.isfinite(value):
        return MISMATCH
    if expected_type is float:
        value = float(value)
    elif isinstance(value, float):
        # 1e5 is a whole number; 1.0 is not meant as one.
        if not value.is_integer() or "e" not in node.text.lower():
            return MISMATCH
        value = int(value)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return MISMATCH
    return value if all(range_.holds(value) for range_ in ranges) else MISMATCH


def _convert_duration(value: Any, allowed: DurationType) -> Any:
    if type(value) is int:
        return value if 0 < value < _LARGEST else MISMATCH
    if isinstance(value, str) and (value in allowed.words or parse_time(value)):
        return value
    return MISMATCH


def _words_of(hint: Any) -> list[str]:
    bare, marks = unwrap_annotated(hint)
    if get_origin(bare) is Literal:
        return [word for word in get_args(bare) if isinstance(word, str)]
    return [
        word
        for mark in marks
        if isinstance(mark, DurationType)
        for word in mark.words
    ]


# A message shows so many characters of a value.
_LONGEST = 60

_TYPES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}
_TYPES |= {type(None): "null", None: "null", Any: "a value"}


def describe_value(value: Any, text: str = "") -> str:
    """Return a value as a message shows it.

    Args:
        value: a scalar, list, mapping or None.
        text: the scalar as it was written.
    """
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing (null)"
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    return f"the text '{text}'" if isinstance(value, str) else text


def describe_type(hint: Any) -> str:
    """Return an annotation in words."""
    descriptions: dict[str, None] = {}
    for member in union_members(hint):
        descriptions.update(dict.fromkeys(_describe_member(member)))
    *first, last = descriptions
    return f"{', '.join(first)} or {last}" if first else last


def _describe_member(hint: Any) -> Sequence[str]:
    bare, marks = unwrap_annotated(hint)
    for mark in marks:
        if isinstance(mark, ComponentOf):
            return [with_article(kind_in_words(mark.kind))]
        if isinstance(mark, Regex):
            return ["a regular expression"]
        if isinstance(mark, DurationType):
            return [
                "a number of steps above 0",
                "text such as '2 epochs'",
                *(f"'{word}'" for word in mark.words),
            ]
    if bare is bool:
        return ["true", "false"]
    if get_origin(bare) is Literal:
        return [_format_literal(word) for word in get_args(bare)]
    if get_args(bare) and get_origin(bare) is not dict:
        items = [item for item in get_args(bare) if item is not ...]
        description = "a list"
        if get_origin(bare) is tuple and ... not in get_args(bare):
            description += f" of {len(items)}"
        if len(set(items)) == 1:
            description += f" (each item {describe_type(items[0])})"
        return [description]
    if dataclasses.is_dataclass(bare):
        source = typing.get_type_hints(bare, include_extras=True).get("source")
        return _describe_member(source) if part_kind(source) else ["a mapping"]
    ranges = [str(mark) for mark in marks if isinstance(mark, Range)]
    return [" ".join([_TYPES[get_origin(bare) or bare], *ranges])]


def _format_literal(word: Any) -> str:
    if isinstance(word, str):
        return f"'{word}'"
    if word is None:
        return "null"
    if isinstance(word, bool):
        return "true" if word else "false"
    return str(word)
