"""The model of a run that ended, was interrupted, or lost its files, as it is read back."""

from __future__ import annotations

import os
import shutil
import warnings

import numpy as np
import pytest

import tftrain
from tftrain.core.bad_steps import SkippedSteps
from tftrain.runtime.run_dir import RunFolderError

TEXT = """
model: {name: 'nets:Net', units: 5}
data: {name: wine, batch_size: 32, validation: 0.2, preprocess: standardize}
optimizer: {name: adam, learning_rate: 0.05, groups: [{only: 000.dense/bias, frozen: true}]}
training: {steps: 12, validate_every: 3, ema: 0.8}
log: {scalars: 3, histograms_every: never}
checkpoint: {every: 3, max_to_keep: 3, best: val_loss}
"""
NET = """
import keras


class Net(keras.Model):
    def __init__(self, units: int = 4, *, outputs: int):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.normal = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.2)
        self.last = keras.layers.Dense(outputs)

    def call(self, x, training=None):
        return self.last(self.dropout(self.normal(self.hidden(x), training=training), training=training))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading")
    (folder / "nets.py").write_text(NET)
    (folder / "small.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield lambda *overrides: tftrain.load(folder / "small.yaml", overrides)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    return tftrain.train(config(), tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the run's folder."""
    return shutil.copytree(whole.folder, tmp_path / "run")


def assert_same(model, expected):
    for variable, other in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(
            np.asarray(variable), np.asarray(other), err_msg=variable.path
        )
    x = np.random.default_rng(0).normal(size=(5, 13)).astype("float32")
    np.testing.assert_array_equal(model(x), expected(x))


def test_the_last_checkpoint_is_the_model_that_was_saved(whole):
    for checkpoint in ("latest", 12, np.int64(12)):
        assert_same(
            tftrain.load_model(whole.folder, checkpoint=checkpoint), whole.model
        )


def test_a_checkpoint_is_the_model_of_a_run_that_ended_there(
    whole, config, tmp_path
):
    shorter = tftrain.train(config("training.steps=9"), tmp_path / "run")
    assert_same(tftrain.load_model(whole.folder, checkpoint=9), shorter.model)


def test_the_best_checkpoint_is_what_restore_best_saves(config, tmp_path):
    overrides = (
        "optimizer.learning_rate=3.0",
        "training.ema=null",
        "checkpoint.restore_best=true",
    )
    result = tftrain.train(config(*overrides), tmp_path / "run")
    assert_same(
        tftrain.load_model(result.folder, checkpoint="best"), result.model
    )
    (result.folder / "model.keras").unlink()
    with pytest.warns(
        UserWarning,
        match="model.keras is not there: .* the best checkpoint is loaded",
    ):
        assert_same(tftrain.load_model(result.folder), result.model)


def test_after_ctrl_c_the_model_is_that_of_the_checkpoint(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        SkippedSteps,
        "on_call_end",
        lambda self, step, row: os.kill(os.getpid(), 2) if step == 7 else None,
    )
    with pytest.raises(KeyboardInterrupt):
        tftrain.train(config("training.steps_per_call=1"), tmp_path / "run")
    monkeypatch.undo()
    expected = tftrain.train(
        config("training.steps=7"), tmp_path / "shorter"
    ).model
    with pytest.warns(
        UserWarning,
        match="model.keras is not there: .* the latest checkpoint is loaded in its place",
    ):
        assert_same(tftrain.load_model(tmp_path / "run"), expected)


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_damaged_model_is_replaced_by_the_checkpoint(whole, folder, kept):
    file = folder / "model.keras"
    os.truncate(file, int(kept * file.stat().st_size))
    with pytest.warns(
        UserWarning,
        match="model.keras is damaged; the latest checkpoint is loaded in its place",
    ):
        assert_same(tftrain.load_model(folder), whole.model)


def test_a_model_that_is_whole_is_read_without_a_word(whole):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_same(tftrain.load_model(whole.folder), whole.model)


@pytest.mark.parametrize("checkpoint", [7, -1, True, 12.0, "bset", "12"])
def test_a_checkpoint_that_is_not_there_is_told(whole, checkpoint):
    expected = f"there is no checkpoint {checkpoint!r}; expected one of latest, best, 6, 9, 12"
    with pytest.raises(RunFolderError, match=expected) as caught:
        tftrain.load_model(whole.folder, checkpoint=checkpoint)
    assert ("did you mean 'best'" in str(caught.value)) == (
        checkpoint == "bset"
    )


def test_where_nothing_is_left_that_is_told(folder):
    shutil.rmtree(folder / "checkpoints")
    (folder / "model.keras").unlink()
    with pytest.raises(RunFolderError, match="checkpoints holds no checkpoint"):
        tftrain.load_model(folder, checkpoint="latest")
    with pytest.raises(ValueError, match="model.keras"):
        tftrain.load_model(folder)
