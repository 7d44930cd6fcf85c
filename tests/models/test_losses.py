"""How losses, outputs and targets fit together, and the metrics that take labels."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.masks import with_mask
from tftrain.core.types import DataSpec
from tftrain.models import losses, metrics
from tftrain.models.metrics import Compared
from tftrain.trainer.build import build_run

LABELS, BINARY, ROWS, NUMBERS = (
    DataSpec((4,), (), 3),
    DataSpec((4,), (), 2),
    DataSpec((4,), (3,), 3),
    DataSpec((4,), (2,), None),
)


@pytest.mark.parametrize(
    "loss, facts, outputs",
    [
        ("tftrain.models.losses:auto", LABELS, 3),
        ("tftrain.models.losses:auto", BINARY, 2),
        ("tftrain.models.losses:auto", ROWS, 3),
        ("tftrain.models.losses:auto", NUMBERS, 2),
        ("keras.losses:SparseCategoricalCrossentropy", BINARY, 2),
        ("keras.losses:BinaryCrossentropy", BINARY, 1),
        ("keras.losses:MeanSquaredError", BINARY, 1),
        ("keras.losses:MeanSquaredError", ROWS, 3),
        ("keras.losses:MeanSquaredError", DataSpec((4,), (), None), 1),
        ("my:loss", LABELS, 3),
    ],
)
def test_outputs_needed(loss, facts, outputs):
    assert losses.outputs_needed(loss, facts) == outputs


def test_a_loss_of_numbers_on_many_classes():
    with pytest.raises(
        ValueError,
        match="labels of 3 classes; use sparse_categorical_crossentropy",
    ):
        losses.outputs_needed("keras.losses:Hinge", LABELS)


STEPS = DataSpec((3,), (3,), 3, True)  # of a sequence, each with a label


@pytest.mark.parametrize(
    "outputs, facts, shape",
    [
        (3, LABELS, (3,)),
        (1, BINARY, (1,)),
        (3, ROWS, (3,)),
        (2, NUMBERS, (2,)),
        (1, DataSpec((4,), (), None), (1,)),
    ]
    + [(3, STEPS, (3, 3)), (14, DataSpec((7, 1), (7, 2), None), (7, 2))],
)
def test_shape_needed(outputs, facts, shape):
    assert losses.shape_needed(outputs, facts) == shape


@pytest.mark.parametrize(
    "shape, facts, fits",
    [
        ((3,), LABELS, True),
        ((5,), LABELS, True),
        ((2,), LABELS, False),
        ((), LABELS, False),
        ((3,), ROWS, True),
    ]
    + [
        ((4,), ROWS, False),
        ((2,), NUMBERS, True),
        ((1, 2), NUMBERS, True),
        ((3,), NUMBERS, False),
    ],
)
def test_misfit(shape, facts, fits):
    assert (
        losses.output_mismatch("tftrain.models.losses:auto", shape, facts)
        is None
    ) == fits


@pytest.mark.parametrize(
    "shape, facts, said",
    [
        ((3, 3), STEPS, None),
        ((3, 5), STEPS, None),
        ((3,), STEPS, r"shape \[3\], but the labels need \[3, 3\]"),
        ((3, 3), LABELS, r"shape \[3, 3\], but the labels need \[3\]"),
        ((3, 2), STEPS, "labels go from 0 to 2"),
        (
            (3, 5),
            DataSpec((3,), (3,), None),
            "for a label at each position there is loss: sparse_categorical_crossentropy",
        ),
    ],
)
def test_labels_of_each_position(shape, facts, said):
    found = losses.output_mismatch(
        "keras.losses:SparseCategoricalCrossentropy", shape, facts
    )
    assert found is None if said is None else re.search(said, found)
    assert (
        not losses.is_one_hot(STEPS)
        and losses.outputs_needed(
            "keras.losses:SparseCategoricalCrossentropy", STEPS
        )
        == 3
    )


def test_labels_of_positions_are_counted_from_0():
    assert losses.per_step_labels(
        DataSpec((3,), (4,), None), (0, 4)
    ) == DataSpec((3,), (4,), 5, True)
    with pytest.raises(
        ValueError, match="counted from 0, and the targets go from -1 to 4"
    ):
        losses.per_step_labels(DataSpec((3,), (4,), None), (-1, 4))


@pytest.mark.parametrize(
    "facts, loss",
    [
        (LABELS, "SparseCategoricalCrossentropy"),
        (ROWS, "CategoricalCrossentropy"),
        (NUMBERS, "MeanSquaredError"),
    ],
)
def test_auto_goes_by_the_targets(facts, loss):
    found = losses.auto(
        classes=facts.classes,
        one_hot=losses.is_one_hot(facts),
        from_logits=True,
    )
    assert type(found).__name__ == loss


def test_to_probabilities():
    logits = tf.constant([[1.0, 2.0], [0.0, -1.0]])
    np.testing.assert_allclose(
        losses.to_probabilities(True, logits)(logits), tf.nn.softmax(logits)
    )
    np.testing.assert_allclose(
        losses.to_probabilities(True, logits, axis=0)(logits),
        tf.nn.softmax(logits, 0),
    )
    np.testing.assert_allclose(
        losses.to_probabilities(True, logits, binary=True)(logits),
        tf.nn.sigmoid(logits),
    )
    np.testing.assert_allclose(
        losses.to_probabilities(True, logits[:, :1])(logits[:, :1]),
        tf.nn.sigmoid(logits[:, :1]),
    )
    assert losses.to_probabilities(False, logits)(logits) is logits


def test_a_function_as_loss_is_averaged_and_weighted():
    loss = losses.FunctionLoss(
        lambda y, found, power: tf.reduce_mean(tf.abs(y - found) ** power, -1),
        {"power": 3.0},
    )
    y, found = tf.constant([[1.0], [2.0]]), tf.constant([[3.0], [2.5]])
    assert float(loss(y, found)) == pytest.approx((8 + 0.125) / 2)
    assert float(
        loss(y, found, sample_weight=tf.constant([0.0, 1.0]))
    ) == pytest.approx(0.125 / 2)


Y = np.array([0, 1, 2, 1])
P = (np.eye(3)[[0, 1, 1, 1]] * 0.8 + 0.1).astype("float32")


THREE = Compared(3, False, 3)


@pytest.mark.parametrize(
    "name",
    [
        "AUC",
        "Precision",
        "CategoricalAccuracy",
        "TopKCategoricalAccuracy",
        "MeanSquaredError",
    ],
)
def test_metrics_of_rows_take_labels(name):
    given = {"k": 2} if name.startswith("TopK") else {}
    plain = getattr(keras.metrics, name)(**given)
    wrapped = metrics.fitted(getattr(keras.metrics, name)(**given), THREE)
    plain.update_state(np.eye(3)[Y], P)
    wrapped.update_state(Y, P)
    assert float(wrapped.result()) == float(plain.result())
    wrapped.reset_state()
    wrapped.update_state(Y[:2], P[:2])
    assert (
        float(wrapped.result()) != float(plain.result())
        or float(plain.result()) == 1
    )
    assert {id(variable) for variable in wrapped.variables} == {
        id(variable) for variable in wrapped.metric.variables
    }


def test_metrics_of_labels_stay_as_they_are():
    metric = keras.metrics.SparseCategoricalAccuracy()
    assert metrics.fitted(metric, THREE) is metric


@pytest.mark.parametrize(
    "outputs, one_hot, kind",
    [
        (1, False, "Binary"),
        (3, False, "SparseCategorical"),
        (3, True, "Categorical"),
    ],
)
def test_accuracy(outputs, one_hot, kind):
    assert (
        type(metrics.accuracy(outputs=outputs, one_hot=one_hot)).__name__
        == f"{kind}Accuracy"
    )


def test_labels_at_each_time_step_are_found_out(desk):
    text = "model: {name: rnn, units: [4]}\ndata: {name: copy, examples: 20, batch_size: 10}\noptimizer: adam\n"
    run = build_run(desk.load(text))
    assert run.data.facts.by_position and run.data.facts.classes == 5
    assert [metric.name for metric in run.step_spec.metrics] == ["accuracy"]
    assert run.objective.model.output.shape == (None, 26, 5)


@pytest.mark.parametrize(
    "kind", [keras.losses.BinaryCrossentropy, keras.losses.MeanAbsoluteError]
)
def test_targets_of_each_step_beside_outputs_with_an_axis_more(kind):
    """Keras would average over all steps, and then not know what a mask or weights of steps are of."""
    random = np.random.default_rng(0)
    y, p = random.integers(0, 2, (4, 5)), random.uniform(0.1, 0.9, (4, 5, 1))
    mask, weight = random.random((4, 5)) < 0.6, random.random((4, 5))
    outputs = with_mask(tf.constant(p, tf.float32), tf.constant(mask))
    loss = losses.by_column(kind(), y, p)
    if kind is keras.losses.BinaryCrossentropy:
        each = -np.log(np.where(y == 1, p[..., 0], 1 - p[..., 0]))
    else:
        each = np.abs(y - p[..., 0])
    wanted = (each * weight)[mask].sum() / mask.sum()
    assert float(loss(y, outputs, sample_weight=weight)) == pytest.approx(
        wanted, rel=1e-5
    )  # float32


def test_losses_of_whole_rows_stay_as_they_are():
    y, outputs = np.zeros((4, 5)), np.zeros((4, 5, 1))
    for loss in (
        keras.losses.CosineSimilarity(),
        keras.losses.KLDivergence(),
        len,
    ):
        assert losses.by_column(loss, y, outputs) is loss
