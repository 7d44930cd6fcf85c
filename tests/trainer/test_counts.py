"""What counts in the loss and in metrics, in training, in validation, and in pieces; the twins are plain Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tftrain
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

RARE = """
model: {{name: mlp, hidden: [4]}}
data: {{name: 'counted:rare', weights_of: {weights_of}, batch_size: 10}}
optimizer: sgd
loss: sparse_categorical_crossentropy
metrics: [accuracy, {{name: accuracy, weighted: true}}]
training: {{epochs: 2}}
log: {{graph: false}}
"""
TAGGED = """
model: {name: sequential, layers: [{name: dense, units: 3}]}
data: {name: 'counted:tagged', batch_size: 8, shuffle: false, VALUES}
optimizer: {name: sgd, learning_rate: 0.5}
loss: {name: sparse_categorical_crossentropy, ignore_class: VOID, reduction: REDUCTION}
gradients: {accumulate_steps: PIECES}
training: {epochs: 2}
log: {scalars: 1, graph: false}
"""


@pytest.mark.parametrize("weights_of", ["train", "validation"])
def test_weights_count_in_the_loss_of_their_split_and_in_metrics_that_are_weighted(
    desk, tmp_path, weights_of
):
    result = tftrain.train(
        desk.load(RARE.format(weights_of=weights_of)), tmp_path / "run"
    )
    from counted import rare

    x, y, *weight = rare(weights_of)["validation"]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    result.model.compile(
        loss=loss, metrics=["accuracy"], weighted_metrics=["accuracy"]
    )
    by_name = result.model.evaluate(
        x,
        y,
        sample_weight=weight[0] if weight else None,
        verbose=0,
        return_dict=True,
    )
    expected = [
        by_name[name] for name in ("loss", "accuracy", "weighted_accuracy")
    ]
    found = list(result.results["validation"].values())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found[1] == found[2]) == (weights_of == "train")


@pytest.mark.parametrize(
    ("void", "reduction", "weighted"),
    [
        (-1, "sum_over_batch_size", False),
        (3, "mean_with_sample_weight", True),
        (255, "sum", True),
    ],
)
def test_labels_that_the_loss_ignores_are_none(
    desk, tmp_path, void, reduction, weighted
):
    """Three units are enough, whatever the void is called, and pieces of a batch, also a short one, are the whole."""
    words = {
        "VALUES": f"void: {void}, weighted: {str(weighted).lower()}",
        "VOID": str(void),
        "REDUCTION": reduction,
    }
    curves = []
    for pieces in ("1", "3"):
        text = TAGGED
        for name, value in (words | {"PIECES": pieces}).items():
            text = text.replace(name, value)
        result = tftrain.train(desk.load(text), tmp_path / pieces)
        curves.append(
            [
                result.history[name].values
                for name in ("loss", "grad_norm", "accuracy")
            ]
        )
    np.testing.assert_allclose(
        curves[1], curves[0], rtol=1e-4
    )  # float32 sums in another order, of five more steps


def test_a_sum_is_validated_as_of_a_batch_of_training(desk, tmp_path):
    text = (
        RARE.format(weights_of="both")
        .replace("loss: sp", "loss: {name: sp")
        .replace("entropy\n", "entropy, reduction: sum}\n")
    )
    result = tftrain.train(desk.load(text), tmp_path / "run")
    from counted import rare

    x, y, weight = rare()["validation"]
    logits = np.asarray(result.model(x), np.float64)
    entropies = (
        np.log(np.exp(logits).sum(-1))
        - np.take_along_axis(logits, y[:, None], -1)[:, 0]
    )
    assert result.results["validation"]["loss"] == pytest.approx(
        (entropies * weight).sum() * 10 / 17, rel=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["model.layers=['counted:Spread', {name: dense, units: 3}]"],
            "model: what spread adds to the loss is neither a mean nor a sum over the examples of a batch; expected",
        ),
        (
            ["loss='counted:Unsure'"],
            "loss: what counts in counted:Unsure goes by what the model computes or draws in the pass: .*; expected a",
        ),
    ],
)
def test_what_pieces_cannot_make_is_told_in_a_line(desk, changes, message):
    layers = "model: {name: sequential, layers: [{name: dense, units: 3}]}"
    text = f"{layers}\ndata: {{name: iris, batch_size: 30}}\noptimizer: sgd\n"
    with pytest.raises(InputError, match=message) as caught:
        build_run(desk.load(text, "gradients.accumulate_steps=2", *changes))
    assert "\n" not in str(caught.value)
    build_run(desk.load(text, *changes))


def test_a_weight_of_a_position_needs_a_loss_with_numbers_of_positions(desk):
    text = TAGGED.replace(
        "{name: sparse_categorical_crossentropy, ignore_class: VOID, reduction: REDUCTION}",
        "LOSS",
    )
    text = (
        text.replace("VALUES", "void: 0, weighted: true")
        .replace("PIECES", "1")
        .replace("units: 3", "units: 1")
    )
    message = r"config.yaml:3:14: data: a weight of an example has the shape \[4\]; expected one for each number"
    text = text.replace(
        "{name: dense, units: 1}", "{name: flatten}, {name: dense, units: 4}"
    )
    with pytest.raises(InputError, match=message):
        build_run(desk.load(text.replace("LOSS", "mean_squared_error")))
