"""The kinds of value a config can hold, written as annotations; TensorFlow-free, so that checking is quick."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
)


class Range(NamedTuple):
    """The numbers from `low` to `high`; a bound of None is open-ended, a strict bound excludes itself."""

    low: float | None = None
    high: float | None = None
    above: bool = False  # strictly above `low`
    below: bool = False  # strictly below `high`

    def holds(self, number: float) -> bool:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return (number > low if self.above else number >= low) and (
            number < high if self.below else number <= high
        )

    def __str__(self) -> str:
        if None not in (self.low, self.high) and not (self.above or self.below):
            return f"from {self.low} to {self.high}"
        parts = []
        if self.low is not None:
            parts.append(
                f"{'above' if self.above else 'of at least'} {self.low}"
            )
        if self.high is not None:
            parts.append(f"{'below' if self.below else 'at most'} {self.high}")
        return " and ".join(parts)


_KINDS_IN_WORDS = {
    "data": "data set",
    "method": "gradient method",
    "preprocess": "preprocessing step",
}


def kind_in_words(kind: str) -> str:
    """Return the name of a kind of component for a message: 'data set' for `data`."""
    return _KINDS_IN_WORDS.get(kind, kind)


class ComponentOf(NamedTuple):
    """A part of this kind, chosen by name or by dotted path."""

    kind: str


class DurationType(NamedTuple):
    """A stretch of training: a whole number of steps, or text such as '2 epochs' or '500 steps'."""

    words: tuple[str, ...] = ()  # words allowed in its place, such as 'auto'


class ListOrItem(NamedTuple):
    """On a list: a single value stands for a list of one."""


class Regex(NamedTuple):
    """On text: a regular expression, as Python's `re` has it."""


PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # NumPy takes no larger one
PositiveFloat = Annotated[float, Range(0, above=True)]
NonNegativeFloat = Annotated[float, Range(0)]
AboveOne = Annotated[float, Range(1, above=True)]
Fraction = Annotated[float, Range(0, 1)]
Share = Annotated[float, Range(0, 1, below=True)]
Decay = Annotated[float, Range(0, 1, above=True, below=True)]
Duration = Annotated[Any, DurationType()]
Pattern = Annotated[str, Regex()]

Activation = Annotated[Any, ComponentOf("activation")]
Initializer = Annotated[Any, ComponentOf("initializer")]
Regularizer = Annotated[Any, ComponentOf("regularizer")]
Constraint = Annotated[Any, ComponentOf("constraint")]
Layer = Annotated[Any, ComponentOf("layer")]
Clip = Annotated[Any, ComponentOf("clip")]
Method = Annotated[Any, ComponentOf("method")]
Preprocess = Annotated[Any, ComponentOf("preprocess")]
Metric = Annotated[Any, ComponentOf("metric")]
Picture = Annotated[Any, ComponentOf("picture")]
Probe = Annotated[Any, ComponentOf("probe")]
TimePoint = NonNegativeInt | Duration  # 0 is before the first step
Schedule = Annotated[Any, ComponentOf("schedule")]
LearningRate = NonNegativeFloat | Schedule
FromLogits = bool | Literal["auto"]

PROBABILITIES = (
    "softmax",
    "sigmoid",
    "hard_sigmoid",
    "sparse_sigmoid",
    "sparsemax",
)  # activations that end in them

_TIME = re.compile(r"(?P<amount>\d+|\d*\.\d+)\s*(?P<unit>steps?|epochs?)")


def union_members(hint: Any) -> list:
    """The annotations of a union, or the annotation itself."""
    return (
        list(get_args(hint))
        if get_origin(hint) in (Union, types.UnionType)
        else [hint]
    )


def unwrap_annotated(hint: Any) -> tuple[Any, tuple]:
    """An annotation without its marks, and the marks, such as a Range."""
    return (
        (get_args(hint)[0], get_args(hint)[1:])
        if get_origin(hint) is Annotated
        else (hint, ())
    )


def part_kind(hint: Any) -> str | None:
    """The kind of part that an annotation, or a member of its union, asks for."""
    marks = [
        mark
        for member in union_members(hint)
        for mark in unwrap_annotated(member)[1]
    ]
    return next(
        (mark.kind for mark in marks if isinstance(mark, ComponentOf)), None
    )


def is_time(hint: Any) -> bool:
    """Whether an annotation, or a member of its union, is a stretch of training."""
    return any(
        isinstance(mark, DurationType)
        for member in union_members(hint)
        for mark in unwrap_annotated(member)[1]
    )


def pattern_error(text: str) -> str | None:
    """What is wrong with a regular expression, None where nothing is."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return None


def item_hint(hint: Any) -> Any:
    """The annotation of the items of a list; Any where it tells nothing of them."""
    lists = [
        get_args(bare)
        for bare, _ in map(unwrap_annotated, union_members(hint))
        if get_origin(bare) is list
    ]
    return lists[0][0] if lists else Any


def parse_time(text: str) -> tuple[float, str] | None:
    """('2 epochs') -> (2.0, 'epochs'); None where the text is no stretch of training."""
    match = _TIME.fullmatch(text.strip())
    if not match or not float(match["amount"]):
        return None
    unit = match["unit"].rstrip("s") + "s"
    if unit == "steps" and not match["amount"].isdigit():
        return None
    return float(match["amount"]), unit


def unordered(boundaries: Sequence[int | str]) -> str | None:
    """What is wrong where boundaries do not rise; steps and epochs cannot be compared yet."""
    for earlier, later in itertools.pairwise(boundaries):
        times = [
            parse_time(time)
            if isinstance(time, str)
            else (float(time), "steps")
            for time in (earlier, later)
        ]
        if times[0][1] == times[1][1] and times[0][0] >= times[1][0]:
            return (
                f"given {later} after {earlier}; expected boundaries that rise"
            )
    return None


def in_steps(time: int | str, steps_per_epoch: int) -> int:
    """The stretch as a whole number of steps, at least one; `time` is known to be well formed."""
    if isinstance(time, int):
        return time
    amount, unit = parse_time(time)
    return max(1, round(amount * (steps_per_epoch if unit == "epochs" else 1)))


def field(says: str, default: Any = dataclasses.MISSING) -> Any:
    """A field of a section: what it means, and its default where it has one."""
    if isinstance(default, tuple):
        return dataclasses.field(
            default_factory=lambda: list(default), metadata={"says": says}
        )
    return dataclasses.field(default=default, metadata={"says": says})


Section = dataclass(frozen=True, kw_only=True)


@Section
class Group:
    """Parameters that are trained in their own way; of two groups that match one, the later counts."""

    only: Pattern = field(
        "regular expression that is looked for in the parameters' names"
    )
    rate: NonNegativeFloat = field("multiple of the learning rate", 1.0)
    weight_decay: NonNegativeFloat | None = field(
        "their own weight decay", None
    )
    frozen: bool = field("leave them as they are", False)
