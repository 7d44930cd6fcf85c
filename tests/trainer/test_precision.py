"""Whole runs with half precision, micro-batches and averaged weights, on one device and on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tftrain
from tftrain.runtime.errors import InputError

ROOT = Path(__file__).parent.parent.parent
# All that a resume must bring back: moving averages, dropout, the loss scale, past norms, averaged weights.
ALL = """
model: {name: mlp, hidden: [16, 8], dropout: 0.2, batch_norm: true}
data: {name: wine, batch_size: 27, validation: 0.2, test: 0.1, preprocess: standardize}
optimizer: {name: adamw, learning_rate: 1e-2}
gradients: {clip: {name: percentile, percent: 40, window: 6}, accumulate_steps: 3}
training: {steps: 16, seed: 3, precision: mixed_float16, ema: 0.8}
log: {scalars: 1, histograms_every: 5}
checkpoint: {every: 4}
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "all.yaml").write_text(ALL)
    return lambda *overrides: tftrain.load(tmp_path / "all.yaml", overrides)


def weights(model):
    return [np.asarray(variable) for variable in model.variables]


def averages(path):
    """The averaged weights in a checkpoint, by number."""
    stored = tf.train.load_checkpoint(str(path))
    names = sorted(
        name
        for name in stored.get_variable_to_shape_map()
        if name.startswith("average/")
    )
    return [stored.get_tensor(name) for name in names]


def test_a_resumed_run_ends_like_an_unbroken_one(load, tmp_path):
    whole = tftrain.train(load(), tmp_path / "whole")
    tftrain.train(load("training.steps=7"), tmp_path / "run")
    again = tftrain.train(load(), tmp_path / "run", resume=True)
    for one, other in zip(
        weights(whole.model), weights(again.model), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert again.results["test"] == whole.results["test"]
    for name in ("loss", "loss_scale", "grad_norm", "clip/percentile/limit"):
        np.testing.assert_array_equal(
            again.history[name].values, whole.history[name].values
        )


def test_the_averaged_weights_are_those_that_are_looked_at_kept_and_saved(
    load, tmp_path
):
    result = tftrain.train(
        load("checkpoint.restore_best=true"), tmp_path / "run"
    )
    kept = averages(
        tf.train.latest_checkpoint(tmp_path / "run" / "checkpoints" / "best")
    )
    loaded = tftrain.load_model(result.folder)
    for model in (result.model, loaded):
        for mine, theirs in zip(model.trainable_variables, kept, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert result.results["validation"]["loss"] == pytest.approx(
        min(result.history["val_loss"].values), rel=1e-6
    )
    last = averages(
        tf.train.latest_checkpoint(tmp_path / "run" / "checkpoints")
    )
    plain = tftrain.train(load("training.ema=null"), tmp_path / "plain")
    np.testing.assert_array_equal(
        plain.history["loss"].values, result.history["loss"].values
    )  # training is the same
    assert any(
        np.any(one != other)
        for one, other in zip(last, plain.model.get_weights(), strict=False)
    )


@pytest.mark.long
def test_half_precision_trains_as_well(load, tmp_path):
    runs = {
        precision: tftrain.train(
            load(
                f"training.precision={precision}",
                "training.steps=40",
                "model.dropout=0",
            ),
            tmp_path / precision,
        )
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    }
    assert {
        name: "loss_scale" in run.history for name, run in runs.items()
    } == {
        "float32": False,
        "mixed_bfloat16": False,
        "mixed_float16": True,
    }
    for run in runs.values():
        assert run.results["test"]["accuracy"] >= 0.85
        assert {
            variable.dtype for variable in run.model.trainable_variables
        } == {"float32"}


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["training.strategy=multi_worker"],
            "training.strategy: multi_worker: TF_CONFIG does not say who the workers",
        ),
        (["training.strategy=tpu"], "training.strategy: tpu: no TPU answers"),
        (
            ["training.strategy=mirrored", "training.devices=3"],
            "TensorFlow has already started with 1; start a new",
        ),
    ],
)
def test_what_cannot_be_done(load, tmp_path, monkeypatch, overrides, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match=message):
        tftrain.train(load(*overrides), tmp_path / "run")


def test_pieces_are_not_joined_over_devices(load, tmp_path, monkeypatch):
    monkeypatch.setattr("tftrain.core.replication.count", lambda: 2)
    layers = "[{name: batch_normalization, synchronized: true}, {name: dense, units: 3}]"
    model = f"model={{name: sequential, layers: {layers}}}"
    with pytest.raises(
        InputError,
        match=r"gradients.accumulate_steps: 3 does not go with synchronized .*\(batch_normalization",
    ):
        tftrain.train(load(model), tmp_path / "run")


@pytest.mark.parametrize("method", ["numeric", "forward"])
def test_methods_of_many_passes_do_not_join_devices(
    load, tmp_path, monkeypatch, method
):
    monkeypatch.setattr("tftrain.core.replication.count", lambda: 2)
    layers = "[{name: batch_normalization, synchronized: true}, {name: dense, units: 3}]"
    changed = [
        f"model={{name: sequential, layers: {layers}}}",
        "gradients.accumulate_steps=1",
        f"gradients.method={method}",
    ]
    with pytest.raises(
        InputError,
        match=rf"gradients.method: {method} does not go with synchronized",
    ):
        tftrain.train(
            load(*changed, "training.precision=float32"), tmp_path / "run"
        )


@pytest.mark.long
def test_a_resumed_run_on_two_devices_ends_like_an_unbroken_one(load, tmp_path):
    """Statistics and random numbers differ between the devices, and come back from one checkpoint."""
    load()

    def train(folder, *words):
        command = [
            sys.executable,
            "-m",
            "tftrain",
            "--config",
            tmp_path / "all.yaml",
            "--run-dir",
            tmp_path / folder,
        ]
        settings = [
            "--set",
            "training.strategy=mirrored",
            "--set",
            "training.devices=2",
        ]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        subprocess.run(
            [*command, *settings, *words],
            env=environment,
            check=True,
            timeout=200,
        )

    train("whole")
    train("run", "--set", "training.steps=7")
    train("run", "--resume")
    whole, again = (
        tftrain.load_model(tmp_path / folder) for folder in ("whole", "run")
    )
    for one, other in zip(whole.variables, again.variables, strict=True):
        if one.dtype == "float32":  # a model that is read back has new seeds
            np.testing.assert_array_equal(one, other)
    first, second = (
        json.loads((tmp_path / folder / "results.json").read_text())
        for folder in ("whole", "run")
    )
    assert (
        first["test"] == second["test"]
        and first["validation"] == second["validation"]
    )
