"""Probes that a config asks for: what is logged of them, that they change nothing, and what is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import tftrain
from tftrain.assemble import assemble
from tftrain.core.types import Signals
from tftrain.errors import InputError, UserCodeError
from tftrain.observers.records import history
from tftrain.probing import checked
from tftrain.rules import taken_names
from tftrain.strict import ConfigError

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
    (folder / "run.yaml").write_text(f"base: base.yaml\nlog:\n    probes: {probes}\n")
    return tftrain.load(folder / "run.yaml", flags)


def bits(result):
    return [np.asarray(variable).tobytes() for variable in result.model.variables]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, own_parts):
    """The same run without and with probes."""
    folder = tmp_path_factory.mktemp("probing")
    return [tftrain.train(load(folder, probes), folder / str(probes.count(","))) for probes in ("[]", PROBES)]


def test_what_they_measure_is_logged_and_changes_nothing(runs):
    plain, probed = runs
    assert bits(plain) == bits(probed) and plain.results == probed.results
    known = history(plain.folder / "metrics.jsonl")
    new = {name: curve for name, curve in history(probed.folder / "metrics.jsonl").items() if name not in known}
    groups = {name.partition("/")[0] for name in new}
    assert groups == {"weight", "cosine", "layer_max", "loss_here"}
    for curve in new.values():
        assert curve.steps.tolist() == [2, 4, 6, 8]
    assert {name for name in new if name.startswith("cosine/")} == {
        f"cosine/{layer}/kernel" for layer in ("000.hidden_1", "002.output")
    }
    assert all(-2 <= value <= 2 for value in new["cosine/002.output/kernel"].values), "twice a cosine"
    assert len(set(new["loss_here"].values)) == 4 and (new["layer_max/001.activation_1"].values >= 0).all()


def test_weights_are_those_before_the_update(runs, tmp_path):
    probed = runs[1]
    weights = history(probed.folder / "metrics.jsonl")
    shorter = tftrain.train(load(tmp_path, "[]", "training.steps=7"), tmp_path / "run")
    kernel = shorter.model.get_layer("output").kernel.numpy()
    assert kernel.shape == (4, 2)
    for row, column in np.ndindex(*kernel.shape):
        assert weights[f"weight/002.output/kernel.{row}.{column}"].values[-1] == kernel[row, column]


def test_tensorboard_has_them(runs):
    found = event_accumulator.EventAccumulator(str(runs[1].folder), {"tensors": 0})
    found.Reload()
    tags = found.Tags()
    assert {"cosine/002.output/kernel", "Overview/loss_here", "weight/002.output/bias.0"} <= {*tags["scalars"]}
    assert found.SummaryMetadata("cosines/all").plugin_data.plugin_name == "histograms"


def test_a_run_logs_no_name_that_a_probe_may_give(runs):
    """So no probe hides what the run itself logs."""
    plain = runs[0]
    taken = {*taken_names("auto")}
    names = {name for line in (plain.folder / "metrics.jsonl").read_text().splitlines() for name in json.loads(line)}
    assert {"loss", "val_loss", "accuracy", "step"} <= names
    for name in names:
        with pytest.raises(ValueError, match="which the run logs itself"):
            checked(Signals({name: 1.0}), taken)
    tables = assemble(tftrain.load(plain.folder / "config.yaml")).programs.probes
    assert len(tables) == 6, "those of every run: counts, norms, activations, and three more kinds of histograms"


@pytest.mark.parametrize(
    ("probe", "kind", "told"),
    [
        ("wieghts", ConfigError, "did you mean 'weights'?"),
        (
            "{name: weights, only: conv}",
            InputError,
            "run.yaml:3:20: log.probes.only: given 'conv', which is in no para",
        ),
        ("{name: weights, most: 0}", ConfigError, "most: given 0; expected a whole number of at least 1"),
        ("'lookouts:number'", InputError, "gave 3; expected a Probe(measure, read) of tftrain.core.types"),
        ("'lookouts:half'", InputError, "gave a Probe with nothing (None) as its read; expected a function"),
        ("{name: 'lookouts:measuring', what: object}", InputError, "its measure gave an object; expected tensors"),
        ("{name: 'lookouts:measuring', what: fault}", UserCodeError, "raised KeyError:"),
        ("{name: 'lookouts:reading', what: nothing}", InputError, "gave nothing (None); expected Signals(scalars, hi"),
        ("{name: 'lookouts:reading', what: loss}", InputError, "its read gave 'loss', which the run logs itself"),
        ("{name: 'lookouts:reading', what: accuracy}", InputError, "its read gave 'accuracy', which the run logs"),
        ("{name: 'lookouts:reading', what: group}", InputError, "its read gave 'grad_norm/mine', which the run logs"),
        ("{name: 'lookouts:reading', what: validation}", InputError, "its read gave 'val_mine', which the run logs"),
        ("{name: 'lookouts:reading', what: text}", InputError, "its read gave the text 'high' as 'mine'; expected a n"),
        ("{name: 'lookouts:reading', what: vector}", InputError, "its read gave a list of 2 as 'mine'; expected a num"),
        ("{name: 'lookouts:reading', what: unnamed}", InputError, "its read named a signal 1; expected a text such"),
        ("{name: 'lookouts:reading', what: image}", InputError, "its read gave images or texts; expected scalars"),
        (
            "{name: 'lookouts:reading', what: histogram}",
            InputError,
            "'mine/all' of the shape [2]; expected [buckets, 3]",
        ),
        ("['lookouts:same', 'lookouts:same']", InputError, "log.probes.1: lookouts:same: its read gave 'same', which"),
    ],
)
def test_what_cannot_be_measured_is_told_before_there_is_a_folder(tmp_path, own_parts, probe, kind, told):
    with pytest.raises(kind) as caught:
        tftrain.train(load(tmp_path, probe), tmp_path / "run")
    assert told in str(caught.value) and not (tmp_path / "run").exists()


def test_a_probe_beside_no_measured_step_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"log.probes: given weights beside log.histograms_every: never"):
        load(tmp_path, "weights", "log.histograms_every=never")


def test_a_probe_that_fails_later_does_not_end_the_run(runs, tmp_path, own_parts):
    with pytest.warns(UserWarning, match=r"(?s)ZeroDivisionError.*so it is not measured any more"):
        result = tftrain.train(load(tmp_path, "'lookouts:tiring'"), tmp_path / "run")
    assert bits(result) == bits(runs[0]) and result.history["rest"].steps.tolist() == [2]


def test_of_numbers_alone_more_points_are_planned_than_of_histograms(tmp_path, recwarn):
    many = ["log.histograms_every=1", "training.steps=300", "log.histograms=[]", "training.validate_every=300"]
    result = tftrain.train(load(tmp_path, "weights", *many), tmp_path / "run")
    assert not [str(one.message) for one in recwarn if "TensorBoard shows" in str(one.message)]
    assert len(result.history["weight/002.output/bias.0"].steps) == 300
