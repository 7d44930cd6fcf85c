from __future__ import annotations

from typing import Any, Literal

import pytest

from tftrain.config import field_types
from tftrain.config.field_types import (
    ListOrItem,
    Range,
    in_steps,
    is_time,
    parse_time,
    part_kind,
    pattern_error,
    union_members,
    unwrap_annotated,
)


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "words"),
    [
        (Range(1), [1, 5], [0, 0.9], "of at least 1"),
        (Range(0, above=True), [1e-9], [0, -1], "above 0"),
        (Range(0, 1), [0, 1], [-0.1, 1.1], "from 0 to 1"),
        (Range(0, 1, below=True), [0, 0.99], [1], "of at least 0 and below 1"),
        (Range(high=3), [-9, 3], [4], "at most 3"),
        (Range(0, 2**32 - 1), [2**32 - 1], [2**32], "from 0 to 4294967295"),
    ],
)
def test_a_range_holds_its_numbers_and_says_so(bound, inside, outside, words):
    assert all(bound.holds(one) for one in inside) and not any(
        bound.holds(one) for one in outside
    )
    assert str(bound) == words


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2 epochs", (2.0, "epochs")),
        ("1 epoch", (1.0, "epochs")),
        ("0.5 epochs", (0.5, "epochs")),
        (" 500 steps ", (500.0, "steps")),
        ("5steps", (5.0, "steps")),
        ("0 steps", None),
        ("0.0 epochs", None),
        ("1.5 steps", None),
        ("-1 epochs", None),
        ("epochs", None),
        ("2 days", None),
        ("2 epochs more", None),
    ],
)
def test_a_stretch_of_training(text, time):
    assert parse_time(text) == time


@pytest.mark.parametrize(
    ("time", "steps"),
    [
        (7, 7),
        ("7 steps", 7),
        ("2 epochs", 80),
        ("0.5 epochs", 20),
        ("0.001 epochs", 1),
    ],
)
def test_a_stretch_in_steps_of_epochs_of_forty(time, steps):
    assert in_steps(time, 40) == steps


@pytest.mark.parametrize(
    ("hint", "kind", "time", "count"),
    [
        (field_types.Activation, "activation", False, 1),
        (field_types.Activation | None, "activation", False, 2),
        (field_types.LearningRate, "schedule", False, 2),
        (field_types.Duration, None, True, 1),
        (field_types.Duration | None, None, True, 2),
        (int | Literal["auto"], None, False, 2),
        (Any, None, False, 1),
    ],
)
def test_what_an_annotation_asks_for(hint, kind, time, count):
    assert (part_kind(hint), is_time(hint), len(union_members(hint))) == (
        kind,
        time,
        count,
    )


def test_marks_are_told_from_the_annotation():
    assert unwrap_annotated(field_types.PositiveInt) == (int, (Range(1),))
    assert unwrap_annotated(list[int]) == (list[int], ())
    assert (
        ListOrItem()
        in unwrap_annotated(field_types.Annotated[list[int], ListOrItem()])[1]
    )


def test_what_is_wrong_with_a_pattern():
    assert pattern_error("conv.*kernel|^0") is None
    assert pattern_error("[") == "unterminated character set at position 0"
    assert (
        pattern_error("a{99999999999999999999}")
        == "the repetition number is too large"
    )
