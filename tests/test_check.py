"""Every wrong config of wrong_configs.txt is told in whole lines, with the place and the key path of each problem."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

import tftrain
from tftrain.parts import Part

FILE = Path(__file__).parent / "wrong_configs.txt"
CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def wrong_configs():
    """A `===` line is a title, `--set` lines are flags, `>>>` lines the problems, GOOD stands for three good lines."""
    for block in FILE.read_text(encoding="utf-8").split("=== ")[1:]:
        title, *lines = block.splitlines()
        flags = [line[6:] for line in lines if line.startswith("--set ")]
        expected = [line[4:] for line in lines if line.startswith(">>> ")]
        text = [line for line in lines if not line.startswith(("--set ", ">>> "))]
        yield pytest.param("\n".join(text) + "\n", flags, expected, id=title)


def whole(line):
    """The line without the names that differ between versions of Keras: those of a list that is cut off."""
    return re.sub(r"(known are|the name of an? \w+:) .* and \d+ more", r"\1 ... and more", line)


@pytest.mark.parametrize(("text", "flags", "expected"), list(wrong_configs()))
def test_a_wrong_config(desk, text, flags, expected):
    there = sorted(Path().iterdir())
    found = desk.problems(text.replace("GOOD\n", desk.good), *flags)
    assert list(map(whole, found)) == list(map(whole, expected))
    assert set(Path().iterdir()) - set(there) <= {Path("config.yaml"), Path("__pycache__")}, "something was written"


def test_there_are_more_than_a_hundred():
    assert len(list(wrong_configs())) > 100


@pytest.mark.parametrize("section", ["loss", "metrics", "gradients", "training", "log", "checkpoint"])
def test_a_section_left_empty_stands_for_its_defaults(desk, section):
    assert desk.load(f"{desk.good}{section}:\n") == desk.load(desk.good)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("training: {epochs: 1e3}", "training.epochs", 1000),
        ("training: {epochs: 1E1}", "training.epochs", 10),
        ("training: {epochs: 1_000}", "training.epochs", 1000),
        ("training: {epochs: 0x10}", "training.epochs", 16),
        ("training: {epochs: 0o10}", "training.epochs", 8),
        ("training: {validate_every: 2 epochs}", "training.validate_every", "2 epochs"),
        ("training: {validate_every: 50}", "training.validate_every", 50),
        ("training: {early_stopping: {}}", "training.early_stopping.patience", 10),
        ("log: {scalars: auto, histograms_every: never}", "log.histograms_every", "never"),
        ("log: {histograms: updates}", "log.histograms", ["updates"]),
        ("log: {histograms: []}", "log.histograms", []),
        ("log: {}", "log.histograms", ["gradients"]),
        ("checkpoint: {best: null}", "checkpoint.best", None),
        ("checkpoint: {best: grad_norm/dense}", "checkpoint.best", "grad_norm/dense"),
        ("metrics: []", "metrics", []),
        ("metrics: auto", "metrics", "auto"),
    ],
)
def test_what_a_value_becomes(desk, text, path, value):
    found = desk.load(f"{desk.good}{text}\n")
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value and type(found) is type(value)


def test_a_number_is_a_float_where_a_number_is_meant(desk):
    found = desk.load(desk.good, "optimizer.learning_rate=1", "model.dropout=0")
    assert repr(found.optimizer.given["learning_rate"]) == "1.0" and repr(found.model.given["dropout"]) == "0.0"


def test_the_words_yes_and_no_are_text(desk):
    found = desk.load(desk.good, "model={name: 'mine:typed', width: 1, label: no, mode: soft}")
    assert found.model.given["label"] == "no"


def test_a_single_part_stands_for_a_list_of_one(desk):
    one = desk.load(desk.good + "metrics: auc\ngradients: {clip: {name: norm, limit: 1}}\n")
    many = desk.load(desk.good + "metrics: [auc]\ngradients: {clip: [{name: norm, limit: 1}]}\n")
    assert [part.name for part in one.metrics] == [part.name for part in many.metrics] == ["auc"]
    assert (
        [part.given for part in one.gradients.clip] == [part.given for part in many.gradients.clip] == [{"limit": 1.0}]
    )


def test_a_part_takes_its_own_argument_before_the_option_of_that_name(desk):
    found = desk.load("model: mlp\ndata: {name: tfds, dataset: mnist, validation: 'train[90%:]'}\noptimizer: adam\n")
    assert found.data.source.given == {"dataset": "mnist", "validation": "train[90%:]"}
    assert found.data.validation == 0.0


def test_a_part_knows_where_it_was_chosen(desk):
    found = desk.load("model:\n  hidden: [3]\n  name: mlp\ndata: iris\noptimizer: adam\n")
    assert isinstance(found.model, Part) and str(found.model.place) == "config.yaml:3:9"


def mutants(count, seed):
    """Examples with words deleted, doubled, renamed, swapped or replaced, and lines moved in and out."""
    random_ = random.Random(seed)
    texts = [path.read_text(encoding="utf-8") for path in CONFIGS]
    odd = ["", "{", "]", ":", "- ", "\t", "'", '"', "&a ", "*a", "null", "yes", "1e-3", ".nan", "-1", "[1, x]", "!!x "]
    odd += [
        "{name: adam}",
        "name:",
        "é",
        "\x00",
        "---\n",
        "#",
        "%",
        "? ",
        "\ud7ff",
        "1" * 400,
        "0x",
        "1e999",
        "mine:typed",
    ]
    for _ in range(count):
        text = random_.choice(texts)
        for _ in range(random_.randint(1, 4)):
            kind = random_.randrange(5)
            if kind == 0:  # lines in and out
                lines = text.splitlines() or [""]
                at = random_.randrange(len(lines))
                lines[at] = random_.choice(
                    ["  " + lines[at], lines[at][1:], lines[at].lstrip(), f"{lines[at]}\n{lines[at]}"]
                )
                text = "\n".join(lines)
                continue
            words = text.replace(",", " , ").split(" ")
            at, other = random_.randrange(len(words)), random_.randrange(len(words))
            if kind == 1:
                words[at] = random_.choice(odd)
            elif kind == 2:
                words[at], words[other] = words[other], words[at]
            elif kind == 3:
                words[at] = words[at][:1] + words[at][2:]
            else:
                words.insert(at, random_.choice([words[other], *odd]))
            text = " ".join(words)
        yield text


def test_no_text_breaks_the_reader(desk):
    found = {"good": 0, "wrong": 0}
    for text in mutants(2000, seed=1):
        began = time.monotonic()
        try:
            desk.load(text)
            found["good"] += 1
        except tftrain.ConfigError as error:
            found["wrong"] += 1
            assert all(line.isprintable() for line in error.problems), text
        except Exception as error:
            raise AssertionError(f"{error!r} out of:\n{text}") from error
        assert time.monotonic() - began < 30, text  # no text makes the reader hang
    assert min(found.values()) > 50, found
