"""What a run is made of: names as in a new process, and labels of each position of a sequence."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tftrain
from tftrain.core.variables import names_of
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

TEXT = "model: {name: sequential, layers: [{name: dense, units: 4}, {name: dense, units: 3}]}\ndata: iris\n"


def test_layers_are_named_as_in_a_new_process(desk):
    first = keras.layers.Dense(1).name
    for _ in range(2):
        model = build_run(
            desk.load(
                f"{TEXT}optimizer: {{name: sgd, groups: [{{only: dense_1/, rate: 2}}]}}\n"
            )
        ).state.model
        assert names_of(model).trained == [
            "000.dense/kernel",
            "000.dense/bias",
            "001.dense_1/kernel",
            "001.dense_1/bias",
        ]
    later = keras.layers.Dense(1).name
    assert later not in (first, "dense", "dense_1")


def test_weights_do_not_depend_on_what_opening_the_data_drew(desk):
    kernels = []
    for draws in (0, 7):
        data = f"data: {{name: 'drawing:flowers', draws: {draws}}}\n"
        kernels.append(
            build_run(desk.load(f"model: mlp\n{data}optimizer: sgd\n"))
            .state.model.weights[0]
            .numpy()
        )
    np.testing.assert_array_equal(*kernels)


TAGGER = """
model: {name: sequential, layers: [{name: embedding, input_dim: 5, output_dim: 4}, {name: dense, units: 3}]}
optimizer: {name: adam, learning_rate: 0.1}
training: {steps: 12}
"""


def test_labels_of_each_position_train_as_their_one_hot_rows_do(desk, tmp_path):
    found = []
    for one_hot, kind, accuracy in (
        ("false", "sparse_categorical", "accuracy"),
        ("true", "categorical", "categorical_accuracy"),
    ):
        data = f"data: {{name: 'tokens:tagged', one_hot: {one_hot}, batch_size: 8, validation: 0.2}}\n"
        scores = f"loss: {kind}_crossentropy\nmetrics: [{accuracy}, auc]\n"
        found.append(
            tftrain.train(desk.load(TAGGER + data + scores), tmp_path / kind)
        )
    labels, rows = (one.results["validation"] for one in found)
    assert (
        list(labels.values()) == list(rows.values())
        and labels["accuracy"] > 0.9
    )
    for one, other in zip(*(one.model.weights for one in found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_weight_of_a_sequence_with_a_target_at_each_step_is_its_own(
    desk, tmp_path
):
    """The first loss and metric are those by hand, from the weights that the run starts with."""
    text = (
        "model: {name: rnn, cell: simple, units: [3]}\ndata: {name: 'words:weighted_steps', batch_size: full}\n"
        "loss: mean_squared_error\noptimizer: {name: sgd, learning_rate: 1e-9}\n"
        "metrics: [mean_absolute_error, {name: mean_absolute_error, weighted: true}]\n"
        "training: {steps: 1}\nlog: {graph: false}\n"
    )
    result = tftrain.train(desk.load(text), tmp_path / "run")
    from words import weighted_steps

    x, y, weight = weighted_steps()
    errors = result.model(x).numpy() - y
    loss = (weight[:, None] * (errors**2).mean(-1)).sum() / (24 * 6)
    np.testing.assert_allclose(result.history["loss"].values, [loss], rtol=1e-5)
    weighted = (weight[:, None] * np.abs(errors).mean(-1)).sum() / (
        weight.sum() * 6
    )
    plain, by_weight = (
        values
        for name, values in result.history.items()
        if name.startswith("mean_absolute_error")
    )
    np.testing.assert_allclose(plain.values, [np.abs(errors).mean()], rtol=1e-5)
    np.testing.assert_allclose(by_weight.values, [weighted], rtol=1e-5)


def test_labels_of_each_position_have_a_metric_of_themselves(desk):
    text = f"{TAGGER}data: {{name: 'tokens:tagged', batch_size: 8}}\n"
    run = build_run(desk.load(f"{text}loss: sparse_categorical_crossentropy\n"))
    assert [metric.name for metric in run.step_spec.metrics] == [
        "accuracy"
    ] and run.data.facts.classes == 3
    with pytest.raises(
        InputError,
        match="at each position there is loss: sparse_categorical_crossentropy",
    ):
        build_run(desk.load(text))
