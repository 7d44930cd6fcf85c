from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from tftrain.config import field_types
from tftrain.config.conversion import describe_type, describe_value
from tftrain.config.field_types import DurationType
from tftrain.config.schema import Data, Training
from tftrain.runtime.names import did_you_mean, join_names, one_of, with_article


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (field_types.PositiveFloat, "a number above 0"),
        (field_types.Fraction, "a number from 0 to 1"),
        (bool, "true or false"),
        (bool | Literal["auto"], "true, false or 'auto'"),
        (str | None, "text or null"),
        (field_types.Pattern | None, "a regular expression or null"),
        (Literal["a", 3, None], "'a', 3 or null"),
        (
            list[field_types.PositiveInt],
            "a list (each item a whole number of at least 1)",
        ),
        (tuple[int, float], "a list of 2"),
        (tuple[int, ...], "a list (each item a whole number)"),
        (dict[str, int], "a mapping"),
        (list, "a list"),
        (Any, "a value"),
        (field_types.Activation | None, "an activation or null"),
        (field_types.LearningRate, "a number of at least 0 or a schedule"),
        (
            Annotated[Any, DurationType(("auto",))],
            "a number of steps above 0, text such as '2 epochs' or 'auto'",
        ),
        (Data, "a data set"),
        (Training | None, "a mapping or null"),
    ],
)
def test_an_annotation_in_words(hint, words):
    assert describe_type(hint) == words


@pytest.mark.parametrize(
    ("value", "text", "words"),
    [
        (3, "3", "3"),
        (0.001, "1e-3", "1e-3"),
        (True, "true", "true"),
        ("x", "x", "the text 'x'"),
        ("x" * 99, "x" * 99, f"the text '{'x' * 57}...'"),
        (None, "", "nothing (null)"),
        ([1], "", "a list"),
        ([], "", "an empty list"),
        ({}, "", "an empty mapping"),
    ],
)
def test_a_value_in_words(value, text, words):
    assert describe_value(value, text) == words


def test_names_in_words():
    assert (
        join_names("abc") == "a, b, c"
        and one_of("abc") == "one of a, b, c"
        and one_of("a") == "a"
    )
    assert join_names(map(str, range(12))).endswith("10, 11")
    assert (
        join_names(map(str, range(13)))
        == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more"
    )
    assert with_article("optimizer") == "an optimizer"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("adm", "; did you mean 'Adam'?"),
        ("ADAM", "; did you mean 'Adam'?"),
        ("zzz", ""),
    ],
)
def test_the_nearest_name(word, hint):
    assert did_you_mean(word, ["Adam", "sgd"]) == hint
