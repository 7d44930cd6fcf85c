"""What a user is told at the command line of data and parts that cannot be trained on; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrain.cli import main

MLP = "model: mlp\ndata: {{name: 'faulty:data', batch_size: 8, fault: {}}}\noptimizer: adam\ntraining: {{steps: 2}}\n"
AT = "config.yaml:2:14: data: "
FIRST = "(counted from 0), "


@pytest.fixture
def told(desk, capsys, monkeypatch):
    """What a run of the config writes to standard error, once it has ended with exit status 2."""

    def run(text, status=2):
        desk.write(text)
        there = set(Path().rglob("*"))
        assert main(["--config", "config.yaml"]) == status
        made = {
            path
            for path in set(Path().rglob("*")) - there
            if "__pycache__" not in path.parts
        }
        assert bool(made) == (status == 0)
        return capsys.readouterr().err.rstrip("\n")

    return run


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "held_out_nan",
            f"validation: 2 values are NaN or Inf, the first in record 7 {FIRST}x column 2",
        ),
        (
            "named_nan",
            f"train: 2 values are NaN or Inf, the first in record 7 {FIRST}x column 2 ('width')",
        ),
        (
            "streamed_nan",
            f"train: 2 values are NaN or Inf, the first in record 7 {FIRST}x column 2",
        ),
        (
            "target_nan",
            f"train: 1 value is NaN or Inf, the first in record 7 {FIRST}y",
        ),
        (
            "weight_nan",
            f"train: 1 value is NaN or Inf, the first in record 7 {FIRST}weight",
        ),
        (
            "negative",
            "train: integer targets are labels, counted from 0, but the lowest is -1 (first in record 0, counted from "
            "0); give the targets of a regression as floats",
        ),
        ("nothing", "train: there are no examples"),
        (
            "one_class",
            "all labels are 5: there is one class alone, and nothing to tell apart",
        ),
        (
            "hollow",
            "data: x of an example has the shape [0], so there is nothing in it",
        ),
    ],
)
def test_data_is_refused_in_one_line(told, fault, message):
    assert told(MLP.format(fault)) == AT + message


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("evil_split", "unknown split '../../evil'; "),
        (
            "single",
            "batch_size 8 is more than the 1 example of the training split; ",
        ),
        (
            "leaves",
            "faulty:data raised SystemExit:\nTraceback (most recent call last):\n  File ",
        ),
    ],
)
def test_data_is_refused(told, fault, message):
    assert told(MLP.format(fault)).startswith(AT + message)


def test_a_generator_is_shown_by_its_own_traceback(told):
    head, called, frame, line, *_, last = told(
        MLP.format("breaks")
    ).splitlines()
    assert (
        head == AT + "faulty:data raised RuntimeError:"
        and called == "Traceback (most recent call last):"
    )
    assert (
        "faulty.py" in frame
        and line.strip() == 'raise RuntimeError("no more cats")'
    )
    assert last == "RuntimeError: no more cats"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MLP.format("several"),
            "1:8: model: mlp: takes one array, and x of an example is a dict of '../up', 'down'; give a model of your",
        ),
        (
            MLP.format("real_labels")
            + "loss: sparse_categorical_crossentropy\n",
            "5:7: loss: sparse_categorical_crossentropy: needs labels, and the targets are floats; give labels as",
        ),
        (
            MLP.format("images").replace(
                "mlp", "{name: sequential, layers: [{name: dense, units: 3}]}"
            ),
            "1:15: model: sequential gives outputs of shape [8, 8, 3], but the labels need [3]",
        ),
        (
            MLP.format("huge").replace(
                "fault:", "preprocess: {name: scale, by: 100}, fault:"
            ),
            "2:14: data: preprocessing makes NaN or Inf of finite values, the first in x column ",
        ),
        (
            MLP.format("huge").replace("mlp", "'faulty:leaving'"),
            "1:8: model: faulty:leaving raised SystemExit:\n",
        ),
    ],
)
def test_what_does_not_fit_is_refused(told, text, message):
    assert told(text).startswith(f"config.yaml:{message}")


def test_labels_that_training_never_sees_are_told(told):
    with pytest.warns(UserWarning) as caught:
        told(MLP.format("unseen"), status=0)
    assert [
        str(one.message) for one in caught if one.category is UserWarning
    ] == [
        "validation: label 4 (first in record 2, counted from 0) is not among those of train, which go from 0 to 2"
    ]
