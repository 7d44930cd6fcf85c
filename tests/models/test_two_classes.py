"""Metrics of two classes are of class 1, as those of scikit-learn, whatever the form of targets and outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn import metrics as right

import tftrain
from tftrain.models import metrics
from tftrain.models.metrics import Compared
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

NAMES = "[accuracy, auc, precision, recall, f1_score, true_positives, binary_accuracy, binary_crossentropy]"
TEXT = f"""
data: {{name: "scored:rare", batch_size: full, shuffle: false}}
metrics: {NAMES}
optimizer: {{name: sgd, learning_rate: 1e-9}}
training: {{steps: 1}}
log: {{scalars: 1, graph: false}}
"""
ONE, TWO = (
    '{name: "scored:linear", bias: -0.3',
    '{name: "scored:linear", units: 2',
)


@pytest.mark.parametrize(
    ("model", "form", "loss"),
    [
        (TWO + "}", "labels", "auto"),
        (
            TWO + ", activation: softmax}",
            "labels",
            "sparse_categorical_crossentropy",
        ),
        (TWO + "}", "rows", "auto"),
        (ONE + "}", "labels", "binary_crossentropy"),
        (ONE + ", activation: sigmoid}", "floats", "binary_crossentropy"),
        (ONE + "}", "floats", "'scored:focal'"),
        (ONE + "}", "labels", "'scored:focal'"),
    ],
)
def test_as_scikit_learn_has_them(desk, tmp_path, model, form, loss):
    text = f"model: {model}\nloss: {loss}\n{TEXT}".replace(
        '"scored:rare"', f'"scored:rare", form: {form}'
    )
    result = tftrain.train(desk.load(text), tmp_path / "run")
    import scored

    outputs = result.model(scored.X).numpy()
    if "activation" not in model:
        outputs = (
            keras.ops.sigmoid if outputs.shape[-1] == 1 else keras.ops.softmax
        )(outputs).numpy()
    p, y = outputs[:, -1], scored.RARE
    guessed = p > 0.5
    wanted = {
        "accuracy": right.accuracy_score(y, guessed),
        "precision": right.precision_score(y, guessed, zero_division=0),
        "recall": right.recall_score(y, guessed),
        "f1_score": right.f1_score(y, guessed),
        "true_positives": float((guessed & (y == 1)).sum()),
        "binary_accuracy": right.accuracy_score(y, guessed),
        "binary_crossentropy": right.log_loss(y, p.astype("float64")),
    }
    found = {name: result.history[name].values[0] for name in wanted}
    assert found == pytest.approx(wanted, rel=1e-4)  # float32
    # Keras sums over 200 thresholds in place of all scores.
    assert result.history["auc"].values[0] == pytest.approx(
        right.roc_auc_score(y, p), abs=0.01
    )


Y = np.array([0, 1, 1, 0, 1, 0])
P = np.array([0.2, 0.9, 0.3, 0.6, 0.8, 0.1], "float32")


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_an_average_over_both_classes_where_that_is_asked_for(average, outputs):
    metric = metrics.fitted(
        keras.metrics.F1Score(average=average), Compared(2, False, outputs)
    )
    metric.update_state(
        Y, P[:, None] if outputs == 1 else np.stack([1 - P, P], 1)
    )
    assert float(metric.result()) == pytest.approx(
        right.f1_score(Y, P > 0.5, average=average), rel=1e-5
    )


@pytest.mark.parametrize("outputs", [1, 2])
def test_another_class_where_that_is_asked_for(outputs):
    metric = metrics.fitted(
        keras.metrics.Recall(class_id=0), Compared(2, False, outputs)
    )
    metric.update_state(
        Y, P[:, None] if outputs == 1 else np.stack([1 - P, P], 1)
    )
    assert float(metric.result()) == pytest.approx(
        right.recall_score(Y, P > 0.5, pos_label=0)
    )


def test_f1_of_one_output_for_floats():
    """Keras alone takes the largest of one output for a yes, whatever it is."""
    metric = metrics.fitted(
        keras.metrics.F1Score(), Compared(None, False, 1, binary=True)
    )
    metric.update_state(Y.astype("float32"), P[:, None])
    assert float(metric.result()) == pytest.approx(right.f1_score(Y, P > 0.5))


def test_labels_of_two_classes_at_each_step():
    metric = metrics.fitted(keras.metrics.Precision(), Compared(2, False, 2))
    metric.update_state(
        Y.reshape(2, 3), np.stack([1 - P, P], 1).reshape(2, 3, 2)
    )
    assert float(metric.result()) == pytest.approx(
        right.precision_score(Y, P > 0.5)
    )


def test_mean_iou_of_outputs_for_each_class():
    outputs, y = (
        np.eye(3, dtype="float32")[[0, 1, 1, 2]] * 0.8,
        np.array([0, 1, 2, 2]),
    )
    for targets, one_hot in ((y, False), (np.eye(3)[y], True)):
        metric = metrics.fitted(
            keras.metrics.MeanIoU(num_classes=3), Compared(3, one_hot, 3)
        )
        metric.update_state(targets, outputs)
        assert float(metric.result()) == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_one_output_beside_a_loss_for_several_is_told_of_the_other_loss(desk):
    with pytest.raises(
        InputError,
        match="labels go from 0 to 1; write loss: binary_crossentropy for one output",
    ):
        build_run(desk.load(f"model: {ONE}}}\n{TEXT}"))


def test_accuracy_of_what_are_no_classes(desk):
    text = TEXT.replace("scored:rare", "scored:flat").replace(
        NAMES, "[accuracy]"
    )
    with pytest.raises(
        InputError,
        match="compares classes, and the targets are none.*binary_accuracy",
    ):
        build_run(desk.load(f"model: {ONE}}}\n{text}"))


def test_margins_of_a_hinge_loss(desk, tmp_path):
    names = "[accuracy, precision, auc, hinge]"
    text = f"model: {ONE}}}\nloss: hinge\n{TEXT}".replace(NAMES, names)
    result = tftrain.train(desk.load(text), tmp_path / "run")
    import scored

    margins, y = result.model(scored.X).numpy()[:, 0], scored.RARE
    found = {
        name: result.history[name].values[0]
        for name in ("accuracy", "precision", "hinge")
    }
    assert found == pytest.approx(
        {
            "accuracy": right.accuracy_score(y, margins > 0),
            "precision": right.precision_score(y, margins > 0),
            "hinge": np.maximum(0, 1 - (2 * y - 1) * margins).mean(),
        },
        rel=1e-5,
    )
    assert result.history["auc"].values[0] == pytest.approx(
        right.roc_auc_score(y, margins), abs=0.01
    )


def test_thresholds_need_probabilities(desk):
    with pytest.raises(
        InputError,
        match="metrics: auc goes through thresholds from 0 to 1, .* mean_squared_error",
    ):
        build_run(
            desk.load(f"model: {ONE}}}\nloss: mean_squared_error\n{TEXT}")
        )
    probabilities = (
        f"model: {ONE}, activation: sigmoid}}\nloss: mean_squared_error\n{TEXT}"
    )
    assert build_run(desk.load(probabilities)).step_spec.metrics


def test_rows_of_two_yes_or_no(desk):
    """A loss that takes each value of a row by itself says that they are no classes to choose from."""
    rows, outputs = np.eye(2)[Y], np.stack([P, P], 1)
    metric = metrics.fitted(
        keras.metrics.Precision(), Compared(2, True, 2, binary=True, apart=True)
    )
    metric.update_state(rows, outputs)
    assert float(metric.result()) == pytest.approx(
        right.precision_score(rows.ravel(), outputs.ravel() > 0.5)
    )


def test_f1_of_several_yes_or_no():
    """Keras alone takes the largest of each row for the one yes."""
    y, outputs = (
        np.array([[1, 1], [0, 1], [1, 0]]),
        np.array([[0.9, 0.8], [0.4, 0.3], [0.6, 0.7]], "float32"),
    )
    metric = metrics.fitted(
        keras.metrics.F1Score(), Compared(None, False, 2, binary=True)
    )
    metric.update_state(y, outputs)
    np.testing.assert_allclose(
        metric.result(),
        right.f1_score(y, outputs > 0.5, average=None),
        rtol=1e-5,
    )


@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_outputs_of_no_axis_but_the_examples(desk, tmp_path, activation):
    """Keras' losses and metrics would take [n] for one row of n outputs."""
    text = f'model: {{name: "scored:flat_linear", activation: {activation}}}\nloss: binary_crossentropy\n{TEXT}'
    text = text.replace(
        '"scored:rare", batch_size: full', '"scored:weighted", batch_size: 20'
    )
    text = (
        text.replace("f1_score,", "{name: f1_score, weighted: true},")
        + "gradients: {accumulate_steps: 3}\n"
    )
    result = tftrain.train(desk.load(text), tmp_path / "run")
    import scored

    for prefix, rows in (("", slice(20)), ("val_", slice(None))):
        x, y, weight = (part[rows] for part in scored.weighted()["train"])
        p = result.model(x).numpy().astype("float64")
        p = p if activation == "sigmoid" else 1 / (1 + np.exp(-p))
        losses = -np.log(np.where(y == 1, p, 1 - p))
        wanted = {
            "loss": (losses * weight).mean(),
            "binary_crossentropy": losses.mean(),
            "accuracy": right.accuracy_score(y, p > 0.5),
            "precision": right.precision_score(y, p > 0.5, zero_division=0),
            "f1_score": right.f1_score(y, p > 0.5, sample_weight=weight),
        }
        found = {
            name: result.history[prefix + name].values[0] for name in wanted
        }
        assert found == pytest.approx(wanted, rel=1e-4)  # float32


def test_positive_scores_that_the_loss_divides_by_their_sum(desk, tmp_path):
    loss = "{name: categorical_crossentropy, from_logits: false}"
    text = f'model: {{name: "scored:positive"}}\nloss: {loss}\n{TEXT}'.replace(
        NAMES, "[categorical_accuracy]"
    )
    result = tftrain.train(
        desk.load(text.replace("scored:rare", "scored:thirds")),
        tmp_path / "run",
    )
    import scored

    scores, rows = result.model(scored.X).numpy(), scored.thirds()[1]
    assert scores.max() > 1.1
    shares = (scores * rows).sum(1) / scores.sum(1)
    assert result.history["loss"].values[0] == pytest.approx(
        -np.log(shares).mean(), rel=1e-4
    )  # float32
