"""Every wrong config of wrong_configs.txt is told in whole lines, with the place and the key path of each problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tftrain.config.component import Component

FILE = Path(__file__).parent / "wrong_configs.txt"


def wrong_configs():
    """A `===` line is a title, `--set` lines are flags, `>>>` lines the problems, GOOD stands for three good lines."""
    for block in FILE.read_text(encoding="utf-8").split("=== ")[1:]:
        title, *lines = block.splitlines()
        flags = [line[6:] for line in lines if line.startswith("--set ")]
        expected = [line[4:] for line in lines if line.startswith(">>> ")]
        text = [
            line for line in lines if not line.startswith(("--set ", ">>> "))
        ]
        yield pytest.param("\n".join(text) + "\n", flags, expected, id=title)


def whole(line):
    """The line without the names that differ between versions of Keras: those of a list that is cut off."""
    return re.sub(
        r"(known are|the name of an? \w+:) .* and \d+ more",
        r"\1 ... and more",
        line,
    )


@pytest.mark.parametrize(("text", "flags", "expected"), list(wrong_configs()))
def test_a_wrong_config(desk, text, flags, expected):
    there = sorted(Path().iterdir())
    found = desk.problems(text.replace("GOOD\n", desk.good), *flags)
    assert list(map(whole, found)) == list(map(whole, expected))
    assert set(Path().iterdir()) - set(there) <= {
        Path("config.yaml"),
        Path("__pycache__"),
    }, "something was written"


def test_there_are_more_than_a_hundred():
    assert len(list(wrong_configs())) > 100


@pytest.mark.parametrize(
    "section", ["loss", "metrics", "gradients", "training", "log", "checkpoint"]
)
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
        (
            "training: {validate_every: 2 epochs}",
            "training.validate_every",
            "2 epochs",
        ),
        ("training: {validate_every: 50}", "training.validate_every", 50),
        (
            "training: {early_stopping: {}}",
            "training.early_stopping.patience",
            10,
        ),
        (
            "log: {scalars: auto, histograms_every: never}",
            "log.histograms_every",
            "never",
        ),
        ("log: {histograms: updates}", "log.histograms", ["updates"]),
        ("log: {histograms: []}", "log.histograms", []),
        ("log: {}", "log.histograms", ["gradients"]),
        ("checkpoint: {best: null}", "checkpoint.best", None),
        (
            "checkpoint: {best: grad_norm/dense}",
            "checkpoint.best",
            "grad_norm/dense",
        ),
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
    assert (
        repr(found.optimizer.given["learning_rate"]) == "1.0"
        and repr(found.model.given["dropout"]) == "0.0"
    )


def test_the_words_yes_and_no_are_text(desk):
    found = desk.load(
        desk.good, "model={name: 'mine:typed', width: 1, label: no, mode: soft}"
    )
    assert found.model.given["label"] == "no"


def test_a_single_part_stands_for_a_list_of_one(desk):
    one = desk.load(
        desk.good + "metrics: auc\ngradients: {clip: {name: norm, limit: 1}}\n"
    )
    many = desk.load(
        desk.good
        + "metrics: [auc]\ngradients: {clip: [{name: norm, limit: 1}]}\n"
    )
    assert (
        [part.name for part in one.metrics]
        == [part.name for part in many.metrics]
        == ["auc"]
    )
    assert (
        [part.given for part in one.gradients.clip]
        == [part.given for part in many.gradients.clip]
        == [{"limit": 1.0}]
    )


def test_a_part_takes_its_own_argument_before_the_option_of_that_name(desk):
    found = desk.load(
        "model: mlp\ndata: {name: tfds, dataset: mnist, validation: 'train[90%:]'}\noptimizer: adam\n"
    )
    assert found.data.source.given == {
        "dataset": "mnist",
        "validation": "train[90%:]",
    }
    assert found.data.validation == 0.0


def test_a_part_knows_where_it_was_chosen(desk):
    found = desk.load(
        "model:\n  hidden: [3]\n  name: mlp\ndata: iris\noptimizer: adam\n"
    )
    assert (
        isinstance(found.model, Component)
        and str(found.model.place) == "config.yaml:3:9"
    )
