"""Runs that are gone on with after files of theirs were lost, or with changes that come too late."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import (
    EventFileLoader,
)

import tftrain
from tftrain.core.bad_steps import SkippedSteps
from tftrain.core.checkpoint import CheckpointManager
from tftrain.runtime.run_dir import RunFolderError
from tftrain.trainer.trainer import Trainer

TEXT = """
model: {name: mlp, hidden: [8], dropout: 0.2}
data: {name: wine, batch_size: 32, validation: 0.2, test: 0.1, preprocess: standardize}
optimizer: {name: adam, learning_rate: 0.05}
training: {steps: 20, seed: 3, validate_every: 5, ema: 0.9}
log: {scalars: 4, histograms_every: never}
checkpoint: {every: 5, max_to_keep: 2, restore_best: true}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(TEXT)
    return lambda *overrides: tftrain.load(path, overrides)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    return tftrain.train(config(), tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the folder of a run that ended."""
    return shutil.copytree(whole.folder, tmp_path / "run")


@pytest.fixture(scope="module")
def interrupted(config, tmp_path_factory):
    """The folder of a run that was interrupted at step 10."""
    path = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SkippedSteps,
            "on_call_end",
            lambda self, step, row: (
                os.kill(os.getpid(), 2) if step == 10 else None
            ),
        )
        with pytest.raises(KeyboardInterrupt):
            tftrain.train(config("training.steps_per_call=1"), path)
    return path


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def remove(folder, pattern):
    for path in folder.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def assert_same_weights(model, expected):
    for variable, other in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), np.asarray(other))


def cut(path, share=0.5):
    os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize("fault", ["lost", "damaged", "empty"])
def test_a_model_that_is_gone_is_written_again(
    whole, config, folder, capsys, fault
):
    before = contents(folder)
    model = folder / "model.keras"
    model.unlink() if fault == "lost" else cut(
        model, 0.5 if fault == "damaged" else 0.0
    )
    result = tftrain.train(config(), folder, resume=True)
    output = capsys.readouterr().out
    word = "lost" if fault == "lost" else "damaged"
    assert (
        f"{model} is {word}; it is written again from the checkpoint\n"
        in output
    )
    assert output.count("written again") == 1
    assert "the run has ended at step 20 already, so nothing is done" in output
    assert_same_weights(tftrain.load_model(folder), whole.model)
    assert_same_weights(result.model, whole.model)
    after = contents(folder)
    assert {path for path in after if after[path] != before.get(path)} <= {
        model.relative_to(folder)
    }


@pytest.mark.parametrize("fault", ["lost", "damaged", "empty"])
def test_what_preprocessing_learned_is_written_again(
    config, folder, capsys, fault
):
    before = contents(folder)
    file = folder / "preprocess.npz"
    file.unlink() if fault == "lost" else cut(
        file, 0.5 if fault == "damaged" else 0.0
    )
    tftrain.train(config(), folder, resume=True)
    word = "lost" if fault == "lost" else "damaged"
    assert (
        f"{file} is {word}; it is written again from the data\n"
        in capsys.readouterr().out
    )
    with (
        np.load(file) as held,
        np.load(io.BytesIO(before[file.relative_to(folder)])) as expected,
    ):
        assert sorted(held) == sorted(expected) and all(
            np.array_equal(held[name], expected[name]) for name in held
        )
    after = contents(folder)
    assert {path for path in after if after[path] != before.get(path)} <= {
        file.relative_to(folder)
    }


LOST = {
    "metrics.jsonl": "metrics.jsonl is lost, and with it the curves up to step 20 for plot and report",
    "events*": "run is lost: TensorBoard shows no curves of it up to step 20",
    "val/events*": "val is lost: TensorBoard shows no curves of it up to step 20",
    "checkpoints/best": "best is lost: there is one again once val_loss is better than",
}


@pytest.mark.parametrize("pattern", LOST)
def test_a_file_that_is_gone_is_told(config, folder, capsys, pattern):
    remove(folder, pattern)
    before = contents(folder)
    tftrain.train(config(), folder, resume=True)
    output = capsys.readouterr().out
    assert LOST[pattern] in output and "written again" not in output
    assert contents(folder) == before


def test_records_that_are_cut_are_told(config, interrupted, tmp_path, capsys):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert [json.loads(line)["step"] for line in lines] == [4, 5, 8, 10]
    (folder / "metrics.jsonl").write_text("".join(lines[:2]))
    remove(folder, "val/events*")
    tftrain.train(config(), folder, resume=True)
    output = capsys.readouterr().out
    assert (
        "metrics.jsonl ends at step 5: its points from there to step 8 are lost\n"
        in output
    )
    assert (
        "val is lost: TensorBoard shows no curves of it up to step 10\n"
        in output
    )


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda file: os.truncate(file, file.stat().st_size - 1),
            "run end at step {last}: TensorBoard lacks the points to step 20",
        ),
        (
            lambda file: cut(file, 0.0),
            "run is lost: TensorBoard shows no curves of it up to step 20",
        ),
        (
            lambda file: file.write_bytes(bytes(range(256)) * 40),
            "run is lost: TensorBoard shows no curves",
        ),
    ],
    ids=["cut", "empty", "garbage"],
)
def test_event_files_that_are_damaged_are_told(
    config, folder, capsys, damage, told
):
    (file,) = (
        path
        for path in folder.glob("events*")
        if not path.name.endswith(".hparams")
    )
    damage(file)
    steps = [event.step for event in EventFileLoader(str(file)).Load()]
    tftrain.train(config(), folder, resume=True)
    assert told.format(last=max(steps, default=0)) in capsys.readouterr().out


def test_of_a_run_that_lost_nothing_nothing_is_told(
    whole, config, interrupted, tmp_path, capsys
):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    capsys.readouterr()
    result = tftrain.train(config(), folder, resume=True)
    output = capsys.readouterr().out
    assert " lost" not in output and "event files" not in output
    assert_same_weights(result.model, whole.model)


def test_a_run_that_ended_is_not_trained_anew_because_its_checkpoints_are_gone(
    whole, config, folder, capsys
):
    remove(folder, "checkpoints")
    before = contents(folder)
    result = tftrain.train(config(), folder, resume=True)
    assert (
        "at step 20, and its checkpoints are lost, so it cannot go on; nothing is done"
        in capsys.readouterr().out
    )
    assert_same_weights(result.model, whole.model)
    assert result.results == whole.results
    with pytest.raises(
        RunFolderError,
        match="ended at step 20, and its checkpoints are lost.*give another --run-dir",
    ):
        tftrain.train(config("training.steps=30"), folder, resume=True)
    assert contents(folder) == before


def test_a_run_begins_anew_where_its_checkpoints_are_gone_before_its_end(
    whole, config, interrupted, tmp_path, capsys
):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    remove(folder, "checkpoints")
    result = tftrain.train(config(), folder, resume=True)
    assert (
        "checkpoints holds no checkpoint, although the run had begun, so it begins anew\n"
        in capsys.readouterr().out
    )
    assert_same_weights(result.model, whole.model)
    assert list(result.history["loss"].steps) == list(
        whole.history["loss"].steps
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.learning_rate=0.5"],
        ["optimizer.learning_rate=0.5", "training.steps=10"],
        ["training.steps=10"],
        ["log.scalars=2", "training.steps=20"],
        ["checkpoint.restore_best=false", "metrics=[]"],
    ],
)
def test_changes_of_a_run_with_nothing_left_to_do_change_nothing(
    config, folder, capsys, overrides
):
    before = contents(folder)
    if "metrics=[]" in overrides:
        with pytest.raises(tftrain.runtime.errors.InputError):
            tftrain.train(
                config(*overrides), folder, resume=True, allow_changes=True
            )
    else:
        result = tftrain.train(
            config(*overrides), folder, resume=True, allow_changes=True
        )
        output = capsys.readouterr().out
        assert (
            "the run has ended at step 20 already, so nothing is done" in output
        )
        assert ("the changes are not taken" in output) == (
            "learning_rate" in overrides[0]
        )
        assert result.results["test"]
    assert contents(folder) == before


def test_changes_of_a_run_without_results_are_refused_and_change_nothing(
    config, folder
):
    (folder / "results.json").unlink()
    before = contents(folder)
    with pytest.raises(
        RunFolderError,
        match="all steps are trained, but there are no results; resume it without changes",
    ):
        tftrain.train(
            config("optimizer.learning_rate=0.5"),
            folder,
            resume=True,
            allow_changes=True,
        )
    assert contents(folder) == before
    tftrain.train(config(), folder, resume=True)
    after = contents(folder)
    for name in ("config.yaml", "metrics.jsonl"):
        assert after[Path(name)] == before[Path(name)]


def test_fewer_steps_than_are_done_leave_the_config_as_it_was(
    config, interrupted, tmp_path
):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    before = (folder / "config.yaml").read_text()
    result = tftrain.train(config("training.steps=5"), folder, resume=True)
    assert (
        json.loads((folder / "results.json").read_text())["steps"] == 10
        and result.results["test"]
    )
    assert (folder / "config.yaml").read_text() == before


@pytest.mark.parametrize("moment", ["before the config", "after the config"])
def test_a_kill_between_the_changed_config_and_the_next_checkpoint_loses_no_change(
    config, interrupted, tmp_path, monkeypatch, moment
):
    """The session that was killed has forgotten the steps that no point had taken in, and so does the next one."""
    folder = shutil.copytree(interrupted, tmp_path / "run")
    change = "optimizer.learning_rate=0.01"
    straight = shutil.copytree(interrupted, tmp_path / "straight")
    expected = tftrain.train(
        config(change), straight, resume=True, allow_changes=True
    )

    def die(*given, **named):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        if moment == "before the config":
            patch.setattr("tftrain.runtime.run_dir.write_config", die)
        else:
            patch.setattr(Trainer, "run", die)
        with pytest.raises(RuntimeError, match="killed"):
            tftrain.train(
                config(change), folder, resume=True, allow_changes=True
            )
    saved = tftrain.load(folder / "config.yaml")
    assert (saved.optimizer.arguments["learning_rate"] == 0.01) == (
        moment == "after the config"
    )
    result = tftrain.train(
        config(change), folder, resume=True, allow_changes=True
    )
    assert_same_weights(result.model, expected.model)
    losses = [run.history["loss"] for run in (result, expected)]
    np.testing.assert_array_equal(losses[0].values, losses[1].values)


def test_a_resume_that_fails_leaves_the_config_as_it_was(
    config, interrupted, tmp_path, monkeypatch
):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    before = contents(folder)

    def fail(self):
        raise ValueError("does not fit")

    monkeypatch.setattr(CheckpointManager, "restore_latest", fail)
    with pytest.raises(tftrain.runtime.errors.InputError, match="does not fit"):
        tftrain.train(
            config("optimizer.learning_rate=0.01"),
            folder,
            resume=True,
            allow_changes=True,
        )
    assert contents(folder) == before
