"""Probes that a config asks for: what is logged of them, that they change nothing, and what is told."""

from __future__ import annotations

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import tftrain
from tftrain.reporting.metrics_file import read_metrics
from tftrain.runtime.errors import (
    ConfigError,
    InputError,
    TrainingError,
    UserCodeError,
)

TEXT = """
model: {name: mlp, hidden: [4], dropout: 0.2, batch_norm: true}
data: {name: moons, examples: 90, batch_size: 20, validation: 0.2}
optimizer: {name: adam, learning_rate: 0.1}
gradients: {clip: {name: global_norm, limit: 0.1}}
training: {steps: 8, seed: 5}
log: {scalars: 2, histograms_every: 2, histograms: [gradients, weights, updates, activations], graph: false}
"""
PROBES = "[{name: weights, only: output, most: 3}, {name: 'lookouts:directions', scale: 2, only: kernel}, weights]"


def load(folder, probes, *flags, text=TEXT):
    (folder / "base.yaml").write_text(text)
    (folder / "run.yaml").write_text(
        f"base: base.yaml\nlog:\n    probes: {probes}\n"
    )
    return tftrain.load(folder / "run.yaml", flags)


def bits(result):
    return [
        np.asarray(variable).tobytes() for variable in result.model.variables
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, own_parts):
    """The same run without and with probes."""
    folder = tmp_path_factory.mktemp("probing")
    return [
        tftrain.train(load(folder, probes), folder / str(probes.count(",")))
        for probes in ("[]", PROBES)
    ]


def test_what_they_measure_is_logged_and_changes_nothing(runs):
    plain, probed = runs
    assert bits(plain) == bits(probed) and plain.results == probed.results
    known = read_metrics(plain.folder / "metrics.jsonl")
    new = {
        name: curve
        for name, curve in read_metrics(probed.folder / "metrics.jsonl").items()
        if name not in known
    }
    assert {name.split("/")[0] for name in new} == {"probes"}, (
        "so none hides what the run itself logs"
    )
    new = {name.removeprefix("probes/"): curve for name, curve in new.items()}
    assert {name.split("/")[0] for name in new} == {
        "weight",
        "cosine",
        "layer_max",
        "loss_here",
    }
    for curve in new.values():
        assert curve.steps.tolist() == [2, 4, 6, 8]
    assert {name for name in new if name.startswith("cosine/")} == {
        f"cosine/{layer}/kernel" for layer in ("000.hidden_1", "002.output")
    }
    assert all(
        -2 <= value <= 2 for value in new["cosine/002.output/kernel"].values
    ), "twice a cosine"
    assert (
        len(set(new["loss_here"].values)) == 4
        and (new["layer_max/001.activation_1"].values >= 0).all()
    )


def test_weights_are_those_before_the_update(runs, tmp_path):
    probed = runs[1]
    weights = read_metrics(probed.folder / "metrics.jsonl")
    shorter = tftrain.train(
        load(tmp_path, "[]", "training.steps=7"), tmp_path / "run"
    )
    kernel = shorter.model.get_layer("output").kernel.numpy()
    assert kernel.shape == (4, 2)
    for row, column in np.ndindex(*kernel.shape):
        assert (
            weights[f"probes/weight/002.output/kernel.{row}.{column}"].values[
                -1
            ]
            == kernel[row, column]
        )


def test_tensorboard_has_them(runs):
    found = event_accumulator.EventAccumulator(
        str(runs[1].folder), {"tensors": 0}
    )
    found.Reload()
    tags = found.Tags()
    assert {
        "probes/cosine/002.output/kernel",
        "probes/loss_here",
        "probes/weight/002.output/bias.0",
    } <= {*tags["scalars"]}
    assert (
        found.SummaryMetadata("probes/cosines/all").plugin_data.plugin_name
        == "histograms"
    )


@pytest.mark.parametrize(
    ("probe", "kind", "told"),
    [
        ("wieghts", ConfigError, "did you mean 'weights'?"),
        (
            "{name: weights, only: conv}",
            InputError,
            "run.yaml:3:20: log.probes.only: given 'conv', which is in no para",
        ),
        (
            "{name: weights, most: 0}",
            ConfigError,
            "most: given 0; expected a whole number of at least 1",
        ),
        (
            "'lookouts:number'",
            InputError,
            "gave 3; expected a Probe(measure, read) of tftrain.core.types",
        ),
        (
            "'lookouts:half'",
            InputError,
            "gave a Probe with nothing (None) as its read; expected a function",
        ),
        (
            "{name: 'lookouts:measuring', what: object}",
            InputError,
            "its measure gave an object; expected tensors",
        ),
        (
            "{name: 'lookouts:measuring', what: fault}",
            UserCodeError,
            "raised KeyError:",
        ),
        (
            "{name: 'lookouts:reading', what: nothing}",
            InputError,
            "gave nothing (None); expected LogData(scalars, hi",
        ),
        (
            "{name: 'lookouts:reading', what: text}",
            InputError,
            "its read gave the text 'high' as 'mine'; expected a n",
        ),
        (
            "{name: 'lookouts:reading', what: vector}",
            InputError,
            "its read gave a list of 2 as 'mine'; expected a num",
        ),
        (
            "{name: 'lookouts:reading', what: unnamed}",
            InputError,
            "its read named a signal 1; expected a text such",
        ),
        (
            "{name: 'lookouts:reading', what: image}",
            InputError,
            "its read gave images or texts; expected scalars",
        ),
        (
            "{name: 'lookouts:reading', what: histogram}",
            InputError,
            "'mine/all', which is of the shape [2]; expected",
        ),
        (
            "['lookouts:same', 'lookouts:same']",
            InputError,
            "log.probes.1: lookouts:same: its read gave 'same', which log.probes.0 gives too",
        ),
    ],
)
def test_what_cannot_be_measured_is_told_before_there_is_a_folder(
    tmp_path, own_parts, probe, kind, told
):
    with pytest.raises(kind) as caught:
        tftrain.train(load(tmp_path, probe), tmp_path / "run")
    assert told in str(caught.value) and not (tmp_path / "run").exists()


def test_what_is_measured_comes_as_it_was_with_its_type_and_whatever_its_size(
    tmp_path, own_parts
):
    """The last batch of an epoch is short, so that the graph does not know how many examples there are."""
    result = tftrain.train(
        load(tmp_path, "'lookouts:of_examples'"), tmp_path / "run"
    )
    found = {
        name.removeprefix("probes/"): curve.values
        for name, curve in result.history.items()
    }
    assert found["examples"].tolist() == [20, 12, 20, 12]
    np.testing.assert_allclose(found["mean"], found["mean_in_graph"], rtol=1e-6)
    np.testing.assert_array_equal(found["above"], found["above_in_graph"])
    assert (found["few"] == 0).all() and (
        found["half"] == np.float16(1 / 3)
    ).all()


def test_an_embeddings_gradient_is_sparse_when_it_is_tried_too(
    tmp_path, own_parts
):
    words = "model: 'words:pooled'\ndata: 'words:sentences'\noptimizer: sgd\ntraining: {steps: 2}\n"
    result = tftrain.train(
        load(tmp_path, "'lookouts:kinds'", text=words), tmp_path / "run"
    )
    assert result.history["probes/sparse"].values.tolist() == [1, 1]


def test_a_fault_in_the_graph_is_told_with_the_probe(tmp_path, own_parts):
    with pytest.raises(
        TrainingError,
        match=r"around step \d: Input to reshape .*; of your own run in a step: log.probes.1 \(",
    ):
        tftrain.train(
            load(tmp_path, "[weights, 'lookouts:square']"), tmp_path / "run"
        )


def test_what_xla_cannot_compile_is_told_with_the_probe(tmp_path, own_parts):
    told = "cannot be compiled: in log.probes.1: XLA does not know the TensorFlow operation StringFormat"
    with pytest.raises(InputError, match=told):
        tftrain.train(
            load(
                tmp_path,
                "[weights, 'lookouts:printing']",
                "training.jit_compile=true",
            ),
            tmp_path / "run",
        )


def test_a_model_that_counts_beside_keras_is_told_and_counts_no_trials(
    tmp_path, own_parts
):
    text = TEXT.replace(
        "{name: mlp, hidden: [4], dropout: 0.2, batch_norm: true}",
        "'towers:Counting'",
    )
    with pytest.warns(
        UserWarning, match=r"neither trains nor saves.*: counting.count;"
    ):
        plain = tftrain.train(
            load(tmp_path, "[]", text=text), tmp_path / "plain"
        )
    drawing = text.replace(
        "graph: false",
        "graph: false, plots: [gradients, signal_flow, loss_surface]",
    )
    watched = load(tmp_path, "'lookouts:same'", text=drawing)
    with pytest.warns(UserWarning, match="neither trains nor saves"):
        assert bits(tftrain.train(watched, tmp_path / "watched")) == bits(plain)


def test_a_probe_beside_no_measured_step_is_told(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"log.probes: given weights beside log.histograms_every: never",
    ):
        load(tmp_path, "weights", "log.histograms_every=never")


def test_a_probe_that_fails_later_does_not_end_the_run(
    runs, tmp_path, own_parts
):
    with pytest.warns(
        UserWarning,
        match=r"(?s)ZeroDivisionError.*so it is not measured any more",
    ):
        result = tftrain.train(
            load(tmp_path, "'lookouts:tiring'"), tmp_path / "run"
        )
    assert bits(result) == bits(runs[0]) and result.history[
        "probes/rest"
    ].steps.tolist() == [2]


def test_of_numbers_alone_more_points_are_planned_than_of_histograms(
    tmp_path, recwarn
):
    many = [
        "log.histograms_every=1",
        "training.steps=300",
        "log.histograms=[]",
        "training.validate_every=300",
    ]
    result = tftrain.train(load(tmp_path, "weights", *many), tmp_path / "run")
    assert not [
        str(one.message)
        for one in recwarn
        if "TensorBoard shows" in str(one.message)
    ]
    assert len(result.history["probes/weight/002.output/bias.0"].steps) == 300
