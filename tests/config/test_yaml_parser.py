from __future__ import annotations

import math
import time

import pytest

from tftrain.config.conversion import to_plain
from tftrain.config.yaml_parser import (
    SourceLocation,
    format_error,
    parse,
    read_scalar,
)
from tftrain.runtime.errors import ConfigError


def failure(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("1_000", 1000),
        ("0", 0),
        ("0o17", 15),
        ("0xff", 255),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e1", -5.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("y", "y"),
        ("010", "010"),
        ("00.1", "00.1"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1/2", "1/2"),
        ("0b11", "0b11"),
        ("2020-01-01", "2020-01-01"),
        ("12:30", "12:30"),
        ("1,000", "1,000"),
        ("nan", "nan"),
        ("infinity", "infinity"),
        ("9" * 101, "9" * 101),
    ],
)
def test_a_scalar_without_quotes(text, value):
    assert read_scalar(text) == value and type(read_scalar(text)) is type(value)


def test_nan_is_read():
    assert math.isnan(read_scalar(".nan"))


def test_quotes_make_text():
    assert to_plain(
        parse(
            '["1", \'true\', "null", |\n  3\n]'.replace("|\n  3\n", "'3'"), "f"
        )
    ) == [
        "1",
        "true",
        "null",
        "3",
    ]
    assert to_plain(parse("a: |\n  3\nb: >\n  true\n", "f")) == {
        "a": "3\n",
        "b": "true\n",
    }


def test_every_node_knows_its_place():
    root = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "f")
    key, node = root.value["b"][1].value[1].value["c"]
    assert (str(key), str(node.place), node.value, node.text) == (
        "f:4:6",
        "f:4:9",
        2,
        "2",
    )
    assert str(root.value["a"][1].place) == "f:1:4"


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\r\nb: 2\r\n",
        "a: 1\nb: 2",
        "\n\n# x\na: 1\nb: 2 # y\n",
        "---\na: 1\nb: 2\n...\n",
        "{a: 1, b: 2}",
    ],
)
def test_other_line_ends_comments_and_marks_change_nothing(text):
    assert to_plain(parse(text, "f")) == {"a": 1, "b": 2}


def test_an_alias_is_filled_in():
    assert to_plain(parse("a: &x [1, 2]\nb: *x\n", "f")) == {
        "a": [1, 2],
        "b": [1, 2],
    }


def test_aliases_of_aliases_are_counted_in_time():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)
    ]
    began = time.monotonic()
    assert failure("\n".join(lines))[0].endswith(
        "more than 100000 values once its aliases are filled in"
    )
    assert (
        time.monotonic() - began < 30
    )  # filled in, they would be 10 000 000 000 values


def test_aliases_do_not_go_deeper_than_brackets():
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [[[[[[[[*a{n - 1}]]]]]]]]" for n in range(1, 300)
    ]
    assert failure("\n".join(lines))[0].endswith(
        "nested deeper than 50 levels once its aliases are filled in"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 51,
        "{a: " * 51,
        "[" * 100_000,
        "- " * 60 + "x",
        "a: " + "[" * 60 + "]" * 60,
    ],
)
def test_depth_has_an_end(text):
    assert "nested deeper than 50 levels" in failure(text)[0]


def test_fifty_levels_are_fine():
    assert parse("[" * 50 + "]" * 50, "f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: \x00",
            "f:2:4: not valid YAML: the character '\\x00' is not allowed",
        ),
        (
            "a: \x07b",
            "f:1:4: not valid YAML: the character '\\x07' is not allowed",
        ),
        (
            "a: 1\na: 2\n",
            "f:2:1: a: given twice (first on line 1); expected once",
        ),
        (
            "",
            "f:1:1: empty; expected sections such as 'model: ...' and 'data: ...'",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, message):
    assert failure(text) == [message]


def test_every_second_key_and_every_tag_is_told_at_once():
    assert len(failure("a: 1\na: 2\nb: !x 1\nc: {d: 1, d: 2}\n[e]: 1\n")) == 4


def test_a_flag_is_the_place_of_all_in_it():
    node = parse("{a: [1]}", "--set x", lines=False)
    assert str(node.value["a"][1].value[0].place) == "--set x"


def test_a_problem_is_one_line_that_a_terminal_can_show():
    assert (
        format_error(SourceLocation("f", 1, 2), "a.b", "x\ny\x1b[31m\ud800é")
        == "f:1:2: a.b: x\\ny\\x1b[31m\\ud800é"
    )
