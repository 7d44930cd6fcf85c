"""The runs of a sweep: every combination of the values that settings are to have."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from tftrain.config.field_types import Many, members, split
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import ConfigError, Node, Place, parse, problem

NONE = "none"  # of a list of parts no part at all, of any other setting null
_OPENING, _CLOSING, _QUOTES = "[{(", "]})", "'\""


class Trial(NamedTuple):
    """One run of a sweep: the values as they were written, by the keys that differ, and all flags for `--set`."""

    values: dict[str, str]
    flags: list[str]

    @property
    def label(self) -> str:
        """Such as `limit=0.1 seed=0`."""
        return " ".join(f"{shortest(key, self.values)}={value}" for key, value in self.values.items())


def grid(settings: Sequence[str]) -> list[Trial]:
    """All combinations of `KEY.PATH=VALUE,VALUE,...`, the last key changing fastest; raises ConfigError."""
    choices: dict[str, list[str]] = {}
    for text in settings:
        key, _, written = text.partition("=")
        values = separated(written)
        if not key.strip() or not all(values):
            message = "expected KEY.PATH=VALUE,VALUE, such as gradients.clip.limit=0.1,1,none"
            raise ConfigError([problem(Place(f"--set {text}"), "", message)])
        read = list(map(_meaning, values))
        twice = next((one for one, value in zip(values, read, strict=True) if read.count(value) > 1), None)
        if twice is not None:
            raise ConfigError([problem(Place(f"--set {text}"), "", f"given {twice} twice; expected each value once")])
        choices[key.strip()] = values
    varied = [key for key, values in choices.items() if len(values) > 1]
    trials = []
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        flags = [_flag(key, value) for key, value in chosen.items()]
        flags.sort(key=lambda flag: flag.endswith("=[]"))  # what is left out has no arguments
        trials.append(Trial({key: chosen[key] for key in varied}, flags))
    return trials


def _meaning(text: str) -> Any:
    """What is equal for values that are written differently and stand for the same."""
    try:
        return _plain(parse(text, "", lines=False))
    except ConfigError:  # told where it is used
        return text


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(one) for key, (_, one) in node.value.items()}
    if isinstance(node.value, list):
        return list(map(_plain, node.value))
    return (node.value,) if isinstance(node.value, bool) else node.value  # true is not 1


def separated(text: str) -> list[str]:
    """The values between commas, but not those within brackets, braces or quotes."""
    found, start, depth, quote = [], 0, 0, ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and not text[start:place].strip():
            quote = letter
        elif letter in _QUOTES and depth:
            quote = letter
        elif letter == "," and not depth:
            found.append(text[start:place].strip())
            start = place + 1
        depth += not quote and ((letter in _OPENING) - (letter in _CLOSING))
    return [*found, text[start:].strip()]


def shortest(key: str, keys: typing.Iterable[str]) -> str:
    """The end of a key path, as long as it takes to tell it from the others."""
    parts, others = key.split("."), [one.split(".") for one in keys if one != key]
    for length in range(1, len(parts) + 1):
        if not any(one[-length:] == parts[-length:] for one in others):
            return ".".join(parts[-length:])
    return key


def _flag(key: str, value: str) -> str:
    if value != NONE:
        return f"{key}={value}"
    hint: Any = Config
    for length, name in enumerate(key.split("."), 1):
        record = next((one for one, _ in map(split, members(hint)) if dataclasses.is_dataclass(one)), None)
        hint = typing.get_type_hints(record, include_extras=True).get(name, Any) if record else Any
        if any(Many() in marks for _, marks in map(split, members(hint))):
            return f"{'.'.join(key.split('.')[:length])}=[]"
    return f"{key}=null"
