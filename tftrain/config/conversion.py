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

_MISFIT = object()
_LARGEST = 2**63  # of whole numbers: what TensorFlow can hold
_YES, _NO = ("yes", "on", "y"), ("no", "off", "n")


class InvalidValue(ValueError):
    """A value that does not fit; the message says what was given and what was expected."""


def convert(node: Node, hint: Any) -> Any:
    """A plain value by its annotation; parts, records and lists of checked items are for others. Raises Wrong."""
    for member in union_members(hint):
        value = _fitted(node, member)
        if value is not _MISFIT:
            return value
    raise InvalidValue(mismatch_message(node, hint))


def mismatch_message(node: Node, hint: Any) -> str:
    """What was given, what was expected, and how to write what was probably meant."""
    return f"given {describe_value(node.value, node.text)}; expected {describe_type(hint)}{suggestion(node, hint)}"


def suggestion(node: Node, hint: Any) -> str:
    """How to write what was probably meant, empty where it cannot be told."""
    value, choices = node.value, union_members(hint)
    for member in choices:
        items = get_args(member) if get_origin(member) in (list, tuple) else ()
        if len(items) == 1 and value is not None and fits(value, *items):
            return f"; write [{node.text}]"
    if not isinstance(value, str):
        return (
            "; write its name, or {name: ...} with its arguments"
            if part_kind(choices[0])
            else ""
        )
    if any(
        isinstance(mark, Regex)
        for member in choices
        for mark in unwrap_annotated(member)[1]
    ) and pattern_error(value):
        return f"; {pattern_error(value)}"
    if bool in choices and value.lower() in (*_YES, *_NO):
        return f"; write {'true' if value.lower() in _YES else 'false'}"
    if type(None) in choices and value.lower() in ("none", "nil"):
        return "; write null"
    if fits(read_scalar(value), hint):
        return f"; write {value} without quotes"
    number = re.sub(r"^([-+]?)0+(?=\d)", r"\1", value.replace(",", ""))
    if not isinstance(read_scalar(number), str) and fits(read_scalar(number), hint):
        return f"; write {number}"
    return did_you_mean(
        value, [word for member in choices for word in _words_of(member)]
    )


def to_plain(node: Node) -> Any:
    """The value of a node without its places."""
    if isinstance(node.value, list):
        return [to_plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: to_plain(item) for key, (_, item) in node.value.items()}
    return node.value


def fits(value: Any, hint: Any) -> bool:
    """Whether a scalar is one that the annotation allows."""
    return any(
        _fitted(Node(value, SourceLocation("")), member) is not _MISFIT
        for member in union_members(hint)
    )


def _fitted(node: Node, hint: Any) -> Any:
    bare, marks = unwrap_annotated(hint)
    time = next((mark for mark in marks if isinstance(mark, DurationType)), None)
    if time:
        return _time(node.value, time)
    if bare is Any:
        return (
            _MISFIT
            if any(isinstance(mark, ComponentOf) for mark in marks)
            else to_plain(node)
        )
    if get_origin(bare) is Literal:
        allowed = any(
            node.value == word and type(node.value) is type(word)
            for word in get_args(bare)
        )
        return node.value if allowed else _MISFIT
    if bare is None or bare is type(None):
        return None if node.value is None else _MISFIT
    if bare in (int, float):
        return _number(node, bare, [mark for mark in marks if isinstance(mark, Range)])
    if isinstance(node.value, str) and any(isinstance(mark, Regex) for mark in marks):
        return _MISFIT if pattern_error(node.value) else node.value
    expected_type = {tuple: list}.get(
        bare, get_origin(bare) if get_origin(bare) is dict else bare
    )
    return (
        to_plain(node)
        if expected_type in (bool, str, list, dict)
        and isinstance(node.value, expected_type)
        else _MISFIT
    )


def _number(node: Node, expected_type: type, ranges: list[Range]) -> Any:
    value = node.value
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
    ):
        return _MISFIT
    if expected_type is float:
        value = float(value)
    elif isinstance(value, float):
        if (
            not value.is_integer() or "e" not in node.text.lower()
        ):  # 1e5 is a whole number, 1.0 is not meant as one
            return _MISFIT
        value = int(value)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return _MISFIT
    return value if all(range_.holds(value) for range_ in ranges) else _MISFIT


def _time(value: Any, allowed: DurationType) -> Any:
    if type(value) is int:
        return value if 0 < value < _LARGEST else _MISFIT
    return (
        value
        if isinstance(value, str) and (value in allowed.words or parse_time(value))
        else _MISFIT
    )


def _words_of(hint: Any) -> list[str]:
    bare, marks = unwrap_annotated(hint)
    if get_origin(bare) is Literal:
        return [word for word in get_args(bare) if isinstance(word, str)]
    return [
        word for mark in marks if isinstance(mark, DurationType) for word in mark.words
    ]


_LONGEST = 60  # characters of a value in one message

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
    """A value as a message shows it; `text` is the scalar as it was written."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing (null)"
    written = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return f"the text '{written}'" if isinstance(value, str) else written


def describe_type(hint: Any) -> str:
    """An annotation in words."""
    *first, last = dict.fromkeys(
        text for member in union_members(hint) for text in _described(member)
    )
    return f"{', '.join(first)} or {last}" if first else last


def _described(hint: Any) -> Sequence[str]:
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
        return [_word(word) for word in get_args(bare)]
    if get_args(bare) and get_origin(bare) is not dict:
        items = [mark for mark in get_args(bare) if mark is not ...]
        size = (
            f" of {len(items)}"
            if get_origin(bare) is tuple and ... not in get_args(bare)
            else ""
        )
        return [
            f"a list{size} (each item {describe_type(items[0])})"
            if len(set(items)) == 1
            else f"a list{size}"
        ]
    if dataclasses.is_dataclass(bare):
        source = typing.get_type_hints(bare, include_extras=True).get("source")
        return _described(source) if part_kind(source) else ["a mapping"]
    ranges = [str(mark) for mark in marks if isinstance(mark, Range)]
    return [" ".join([_TYPES[get_origin(bare) or bare], *ranges])]


def _word(word: Any) -> str:
    if isinstance(word, str):
        return f"'{word}'"
    return (
        {None: "null", True: "true", False: "false"}[word]
        if word is None or isinstance(word, bool)
        else str(word)
    )
