"""A scalar that is watched, and that only the data or the model can tell not to be there, is told with its place."""

from __future__ import annotations

import re

import pytest

from tftrain.runtime.errors import InputError
from tftrain.trainer.monitors import make_monitors

PLATEAU = (
    "learning_rate: {name: warmup, steps: 2, then: {name: plateau, then: 0.1"
)
NO_VALIDATION = "'val_loss' is asked for, but the data has no validation split; give data.validation a share"


@pytest.mark.parametrize(
    ("text", "validated", "message"),
    [
        (
            "optimizer: sgd\ncheckpoint: {best: val_loss}",
            False,
            f"4:20: checkpoint.best: {NO_VALIDATION}",
        ),
        (
            "optimizer: sgd\ntraining: {early_stopping: {monitor: val_loss}}",
            False,
            f"4:38: training.early_stopping.monitor: {NO_VALIDATION}",
        ),
        (
            "optimizer: sgd\ntraining: {early_stopping: {patience: 3}}",
            False,
            f"4:28: training.early_stopping.monitor: {NO_VALIDATION}",
        ),
        (
            f"optimizer: {{name: sgd, {PLATEAU}, monitor: val_loss}}}}}}",
            False,
            f"3:106: optimizer.learning_rate.then.monitor: {NO_VALIDATION}",
        ),
        (
            f"optimizer: {{name: sgd, {PLATEAU}}}}}}}",
            False,
            f"3:70: optimizer.learning_rate.then.monitor: {NO_VALIDATION}",
        ),
        (
            "optimizer: sgd\ncheckpoint: {best: val_accuracy}",
            True,
            "4:20: checkpoint.best: given 'val_accuracy', which is not logged; expected one of loss, val_loss, ",
        ),
        (
            f"optimizer: {{name: sgd, {PLATEAU}, monitor: accuracy}}}}}}",
            True,
            "3:106: optimizer.learning_rate.then.monitor: given 'accuracy', which is not logged",
        ),
        (
            "optimizer: sgd\ncheckpoint: {restore_best: true}",
            False,
            "4:28: checkpoint.restore_best: given true, but there is no best checkpoint",
        ),
    ],
)
def test_what_is_not_there(desk, text, validated, message):
    config = desk.load(f"model: mlp\ndata: iris\n{text}\n")
    with pytest.raises(InputError, match=re.escape(f"config.yaml:{message}")):
        make_monitors(config, validated, metrics=[])


def test_a_flag_is_the_place_of_what_it_says(desk):
    config = desk.load(desk.good, "checkpoint.best=val_loss")
    with pytest.raises(
        InputError,
        match=re.escape(
            "--set checkpoint.best=val_loss: checkpoint.best: 'val_loss' is"
        ),
    ):
        make_monitors(config, False, [])


def test_who_watches(desk):
    auto = desk.load(desk.good)
    assert make_monitors(auto, True, ["accuracy"]).best.monitor == "val_loss"
    assert make_monitors(auto, False, ["accuracy"]) == (None, None, ())
    found = make_monitors(
        desk.load(
            desk.good,
            "training.early_stopping={}",
            "checkpoint.best=val_accuracy",
        ),
        True,
        ["accuracy"],
    )
    assert (
        found.best is not None
        and found.stopping is not None
        and found.best.monitor == "val_accuracy"
    )
