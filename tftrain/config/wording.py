"""Values and annotations in the words of a message."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from tftrain.config.field_types import PartOf, Range, Regex, Time, members, part_kind, split

_LONGEST = 60  # characters of a value in one message

_NOUNS = {"data": "data set", "method": "gradient method", "preprocess": "preprocessing step"}
_TYPES = {int: "a whole number", float: "a number", str: "text", list: "a list", tuple: "a list", dict: "a mapping"}
_TYPES |= {type(None): "null", None: "null", Any: "a value"}


def noun(kind: str) -> str:
    """A kind of part in words: 'data set'."""
    return _NOUNS.get(kind, kind)


def with_article(words: str) -> str:
    """'an optimizer', 'a data set'."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def given(value: Any, text: str = "") -> str:
    """A value as a message shows it; `text` is the scalar as it was written."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing (null)"
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return f"the text '{shown}'" if isinstance(value, str) else shown


def describe(hint: Any) -> str:
    """An annotation in words."""
    *first, last = dict.fromkeys(text for member in members(hint) for text in _described(member))
    return f"{', '.join(first)} or {last}" if first else last


def _described(hint: Any) -> Sequence[str]:
    bare, marks = split(hint)
    for one in marks:
        if isinstance(one, PartOf):
            return [with_article(noun(one.kind))]
        if isinstance(one, Regex):
            return ["a regular expression"]
        if isinstance(one, Time):
            return ["a number of steps above 0", "text such as '2 epochs'", *(f"'{word}'" for word in one.words)]
    if bare is bool:
        return ["true", "false"]
    if get_origin(bare) is Literal:
        return [_word(word) for word in get_args(bare)]
    if get_args(bare) and get_origin(bare) is not dict:
        items = [one for one in get_args(bare) if one is not ...]
        size = f" of {len(items)}" if get_origin(bare) is tuple and ... not in get_args(bare) else ""
        return [f"a list{size} (each item {describe(items[0])})" if len(set(items)) == 1 else f"a list{size}"]
    if dataclasses.is_dataclass(bare):
        source = typing.get_type_hints(bare, include_extras=True).get("source")
        return _described(source) if part_kind(source) else ["a mapping"]
    ranges = [str(one) for one in marks if isinstance(one, Range)]
    return [" ".join([_TYPES[get_origin(bare) or bare], *ranges])]


def _word(word: Any) -> str:
    if isinstance(word, str):
        return f"'{word}'"
    return {None: "null", True: "true", False: "false"}[word] if word is None or isinstance(word, bool) else str(word)
