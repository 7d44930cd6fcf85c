"""Whole-number targets: labels of classes to losses of classes, numbers to those of numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tftrain
from tftrain.models import losses
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

TEXT = """
model: mlp
data: {name: "scored:numbers", kind: KIND, batch_size: full, shuffle: false}
optimizer: {name: sgd, learning_rate: 1e-9}
training: {steps: 1}
log: {scalars: 1, graph: false}
"""


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("years", "mean_absolute_error"),
        ("prices", "huber"),
        ("degrees", "mean_squared_error"),
        ("signs", "hinge"),
    ]
    + [
        ("prices", "mean_squared_logarithmic_error"),
        ("degrees", "'scored:squared'"),
    ],
)
def test_numbers_to_losses_of_numbers(desk, tmp_path, kind, loss):
    text = (
        TEXT.replace("KIND", kind)
        + f"loss: {loss}\nmetrics: [mean_absolute_error, 'scored:deviation']\n"
    )
    result = tftrain.train(desk.load(text), tmp_path / "run")
    import scored

    x, y = scored.numbers(kind)
    outputs = result.model(x).numpy()
    assert outputs.shape == (60, 1)
    compare = scored.squared if "scored" in loss else keras.losses.get(loss)
    right = np.mean(compare(y[:, None].astype("float32"), outputs))
    assert result.history["loss"].values[0] == pytest.approx(right, rel=1e-5)
    error = pytest.approx(np.abs(y - outputs[:, 0]).mean(), rel=1e-5)
    assert result.history["mean_absolute_error"].values[0] == error
    assert result.history["deviation"].values[0] == error


def test_it_is_told(desk, recwarn):
    build_run(
        desk.load(TEXT.replace("KIND", "years") + "loss: mean_absolute_error\n")
    )
    told = [
        str(one.message)
        for one in recwarn
        if "whole numbers from 198" in str(one.message)
    ]
    assert (
        len(told) == 1 and "taken as floats, and not as class labels" in told[0]
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [("years", "labels of 199"), ("prices", "labels of [0-9]+ classes")],
)
def test_the_loss_that_goes_by_the_targets_asks(desk, kind, message):
    with pytest.raises(
        InputError,
        match=f"{message}.*for a regression write loss: mean_squared_error",
    ):
        build_run(desk.load(TEXT.replace("KIND", kind)))


@pytest.mark.parametrize("loss", ["auto", "sparse_categorical_crossentropy"])
def test_labels_below_0_are_refused_where_they_are_labels(desk, loss):
    with pytest.raises(
        InputError, match="integer targets are labels, counted from 0"
    ):
        build_run(
            desk.load(TEXT.replace("KIND", "degrees") + f"loss: {loss}\n")
        )


@pytest.mark.parametrize(
    "labels, count", [((0, 1), 4), ((1, 3), 9), ((0, 9), 10)]
)
def test_what_can_be_classes(labels, count):
    assert losses.expect_classes(labels, count) is None


@pytest.mark.parametrize(
    "labels, count", [((0, 10), 10), ((1990, 1999), 10_000), ((7, 9), 100)]
)
def test_what_can_be_no_classes(labels, count):
    with pytest.raises(ValueError, match=f"labels of {labels[1] + 1} classes"):
        losses.expect_classes(labels, count)


def test_labels_with_an_axis_of_their_own(desk):
    facts = tftrain.core.types.DataSpec((4, 4, 2), (4, 4, 1), None)
    assert losses.per_step_labels(facts, (0, 2)).target_shape == (4, 4)
