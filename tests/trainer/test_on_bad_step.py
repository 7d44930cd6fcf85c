"""What `training.on_bad_step` says is done at a step that goes wrong, from the config to the run's folder."""

import json
import re

import numpy as np
import pytest

import tftrain
from tftrain.runtime import run_dir

TEXT = """
model: {name: mlp, hidden: [8], dropout: 0.2}
data: {name: "tests.user_code.poisoned:data", at: 7, by: 1.0, batch_size: 8, shuffle: false}
optimizer: {name: adam, learning_rate: 0.01}
training: {steps: 30, seed: 3, ema: 0.9}
log: {scalars: 5, histograms_every: never}
checkpoint: {every: 10, max_to_keep: 2}
"""
SPIKE, OVERFLOW = ["data.at=17", "data.by=1e6"], ["data.at=17", "data.by=1e30"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(TEXT)
    return lambda *overrides: tftrain.load(path, overrides)


def counts(result):
    told = json.loads((result.folder / run_dir.RESULTS).read_text())
    return told["steps"], told["skipped"], told["rewinds"]


@pytest.mark.parametrize("wrong", [SPIKE, OVERFLOW], ids=["spike", "overflow"])
def test_the_run_stops_or_skips(config, tmp_path, wrong):
    stopped = tftrain.train(config(*wrong), tmp_path / "stopped")
    line = (
        "the gradient norm .* at step 17 is far"
        if wrong is SPIKE
        else "the loss or a gradient was not finite at"
    )
    assert stopped.failed and counts(stopped) == (17, 1, 0)
    with pytest.warns(UserWarning, match="1 of 30 updates were skipped where"):
        skipped = tftrain.train(
            config(*wrong, "training.on_bad_step=skip"), tmp_path / "skipped"
        )
    assert not skipped.failed and counts(skipped) == (30, 1, 0)
    assert re.match(line, stopped.stopped)


def test_a_spike_may_be_let_through(config, tmp_path):
    result = tftrain.train(
        config(*SPIKE, "training.spike_factor=never"), tmp_path / "run"
    )
    assert counts(result) == (30, 0, 0) and result.stopped is None


def test_a_run_that_goes_back_says_so_and_can_be_gone_on_with(
    config, tmp_path, capsys
):
    chosen = [*OVERFLOW, "training.on_bad_step=rewind"]
    with pytest.warns(UserWarning, match="1 of 30 updates were skipped"):
        whole = tftrain.train(config(*chosen), tmp_path / "whole")
    assert (
        capsys.readouterr().out.count(
            "continues from the checkpoint of step 10, with the next batches"
        )
        == 1
    )
    assert counts(whole) == (30, 1, 1) and list(
        whole.history["loss"].steps
    ) == [
        5,
        10,
        15,
        20,
        25,
        30,
    ]
    with pytest.warns(UserWarning, match="1 of 30 updates were skipped"):
        for steps in (19, 30):
            part = tftrain.train(
                config(*chosen, f"training.steps={steps}"),
                tmp_path / "run",
                resume=True,
            )
    assert counts(part) == (30, 1, 1)
    for one, other in zip(
        part.model.variables, whole.model.variables, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_before_the_first_checkpoint_a_run_goes_back_to_its_start(
    config, tmp_path, capsys
):
    chosen = [
        "data.at=7",
        "data.by=1e30",
        "training.on_bad_step=rewind",
        "checkpoint.every=never",
    ]
    with pytest.warns(UserWarning, match="skipped"):
        result = tftrain.train(config(*chosen), tmp_path / "run")
    assert (
        "continues from the checkpoint of step 0" in capsys.readouterr().out
        and counts(result) == (30, 1, 1)
    )
