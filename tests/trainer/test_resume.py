"""Runs that are killed, interrupted or changed, and gone on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.backend.event_processing import (
    data_provider,
    plugin_event_multiplexer,
)
from tensorboard.context import RequestContext

import tftrain
from tftrain.cli import main
from tftrain.config import export
from tftrain.core.background import BackgroundWriter
from tftrain.core.bad_steps import SkippedSteps
from tftrain.core.checkpoint import CheckpointManager
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.runtime import atomic_files
from tftrain.runtime.run_dir import RunFolderError
from tftrain.trainer import resume, signals
from tftrain.trainer.evaluator import Evaluator

# Points, validations and checkpoints fall apart, so that there are checkpoints in the middle of a point.
TEXT = """
model: {name: mlp, hidden: [8], dropout: 0.2, batch_norm: true}
data: {name: wine, batch_size: 32, validation: 0.2, test: 0.1, preprocess: standardize}
optimizer: {name: adam, learning_rate: {name: plateau, then: 0.05, patience: 1}}
gradients: {clip: {name: percentile, percent: 50, window: 6}, accumulate_steps: 2}
training: {steps: 20, seed: 3, ema: 0.9, validate_every: 6, early_stopping: {monitor: val_loss, patience: 50}}
log: {scalars: 5, histograms_every: 7}
checkpoint: {every: 3, max_to_keep: 2}
"""
TIMES = ("wall_seconds", "step_ms")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(TEXT)
    return lambda *overrides: tftrain.load(path, overrides)


def told(folder):
    """The lines of the records without times, and the results without theirs."""
    lines = [
        json.loads(line)
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    lines = [
        {name: value for name, value in line.items() if name not in TIMES}
        for line in lines
    ]
    results = json.loads((folder / "results.json").read_text())
    return lines, {
        name: value
        for name, value in results.items()
        if name not in ("seconds", "time")
    }


def shown(folder):
    """The steps of each scalar, by run and tag, as TensorBoard's own data provider reads them."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer(
        size_guidance=None, tensor_size_guidance={"scalars": 10000}
    )
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    provider, asked = (
        data_provider.MultiplexerDataProvider(multiplexer, str(folder)),
        RequestContext(),
    )
    which = {"experiment_id": "", "plugin_name": "scalars"}
    found = provider.read_scalars(asked, **which, downsample=10000)
    return {
        (run, tag): [one.step for one in points]
        for run, tags in found.items()
        for tag, points in tags.items()
    }


def same(result, whole):
    for one, other in zip(
        result.model.variables, whole.model.variables, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert told(result.folder) == told(whole.folder)
    assert shown(result.folder) == shown(whole.folder)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """An unbroken run, with copies of its folder from the moments at which a kill might be hard to survive."""
    folder, copies = tmp_path_factory.mktemp("whole") / "run", {}

    def copying(owner, method, moment):
        real = getattr(owner, method)

        def do(self, *given):
            copy(f"{moment}-before")
            found = real(self, *given)
            copy(f"{moment}-after")
            return found

        return do

    def copy(moment):
        number = sum(name.startswith(moment) for name in copies)
        copies[f"{moment}-{number}"] = place = (
            folder.parent / f"{moment}-{number}"
        )
        shutil.copytree(folder, place)

    with pytest.MonkeyPatch.context() as patch:
        for owner, method, moment in (
            (CheckpointManager, "save", "save"),
            (TensorBoardLogger, "flush", "flush"),
            (Evaluator, "evaluate_all", "results"),
        ):
            patch.setattr(owner, method, copying(owner, method, moment))
        hand_over = BackgroundWriter.on_points
        # No file may be in the making while a copy is made of the others.
        patch.setattr(
            BackgroundWriter,
            "on_points",
            lambda self, points: (hand_over(self, points), self.drain()),
        )
        result = tftrain.train(config(), folder)
    return SimpleNamespace(result=result, copies=copies, folder=folder)


def test_checkpoints_lie_in_the_middle_of_points(whole):
    lines, _ = told(whole.folder)
    assert [line["step"] for line in lines] == [5, 6, 7, 10, 12, 14, 15, 18, 20]
    assert sum(name.startswith("save-after") for name in whole.copies) == 7


@pytest.mark.parametrize(
    "moment",
    [
        "save-before-1",  # at step 6: its point is written, its checkpoint is not
        "save-after-2",  # at step 9, two steps into a point
        "flush-after-4",  # with points that no checkpoint has seen
        "results-before-0",  # all is trained
    ],
)
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(
    whole, config, tmp_path, moment
):
    folder = tmp_path / "run"
    shutil.copytree(whole.copies[moment], folder)
    if moment.startswith(
        "flush"
    ):  # killed in the middle of a line, and of an event
        with open(folder / "metrics.jsonl", "ab") as file:
            file.write(b'{"step": 11, "los')
        (events,) = set(folder.glob("events.*")) - set(folder.glob("*.hparams"))
        os.truncate(events, events.stat().st_size - 7)
    same(tftrain.train(config(), folder, resume=True), whole.result)


def test_a_clock_that_is_set_back_between_sessions_loses_no_point(
    whole, config, tmp_path, monkeypatch
):
    folder = shutil.copytree(whole.copies["save-after-2"], tmp_path / "run")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86400)
    same(tftrain.train(config(), folder, resume=True), whole.result)


def test_a_run_killed_before_its_first_checkpoint_leaves_nothing_behind(
    whole, config, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(whole.copies["flush-after-2"], folder)
    shutil.rmtree(folder / "checkpoints")
    shutil.copytree(whole.folder / "val", folder / "val", dirs_exist_ok=True)
    result = tftrain.train(config("training.steps=5"), folder, resume=True)
    assert [line["step"] for line in told(result.folder)[0]] == [5]
    steps = shown(folder)
    assert [steps[run, "Overview/loss"] for run in (".", "val")] == [[5], [5]]


def test_a_run_that_has_ended_is_left_as_it_is(whole, config, capsys):
    before = {
        path: path.read_bytes()
        for path in whole.folder.rglob("*")
        if path.is_file()
    }
    result = tftrain.train(config(), whole.folder, resume=True)
    assert "the run has ended at step 20 already" in capsys.readouterr().out
    assert {
        path: path.read_bytes()
        for path in whole.folder.rglob("*")
        if path.is_file()
    } == before
    assert result.results == whole.result.results and not result.failed
    same(result, whole.result)


@pytest.mark.parametrize(
    "number, status",
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_is_answered_after_the_call(
    whole, config, tmp_path, monkeypatch, capsys, number, status
):
    monkeypatch.setattr(
        SkippedSteps,
        "on_call_end",
        lambda self, step, row: (
            os.kill(os.getpid(), number) if step == 8 else None
        ),
    )
    before = [signal.getsignal(one) for one in signals.SIGNALS]
    folder, path = tmp_path / "run", tmp_path / "small.yaml"
    path.write_text(TEXT)
    assert (
        main(
            [
                "--config",
                str(path),
                "--run-dir",
                str(folder),
                "--set",
                "training.steps_per_call=1",
            ]
        )
        == status
    )
    line = f"interrupted by {number.name} at step 8 of 20; saved, so that it can go on with "
    assert capsys.readouterr().err.endswith(
        f"{line}python -m tftrain --resume --run-dir {folder}\n"
    )
    assert [signal.getsignal(one) for one in signals.SIGNALS] == before
    assert told(folder)[1] | {"train": None} == {
        "steps": 8,
        "stopped": f"interrupted by {number.name}",
        "skipped": 0,
        "rewinds": 0,
        "train": None,
    }
    monkeypatch.undo()
    same(tftrain.train(config(), folder, resume=True), whole.result)


def test_a_signal_is_heard_while_the_run_is_evaluated_and_saved(
    whole, config, tmp_path, monkeypatch
):
    real = Evaluator.evaluate_all
    monkeypatch.setattr(
        Evaluator,
        "evaluate_all",
        lambda *given: [os.kill(os.getpid(), signal.SIGINT), real(*given)][1],
    )
    with pytest.raises(
        KeyboardInterrupt, match="interrupted by SIGINT at step 20 of 20"
    ):
        tftrain.train(config(), tmp_path / "run")
    monkeypatch.undo()
    same(tftrain.train(config(), tmp_path / "run", resume=True), whole.result)


def test_a_second_signal_ends_at_once_and_loses_only_what_is_not_saved(
    whole, config, tmp_path, monkeypatch
):
    def twice(self, step, row):
        if step == 8:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SkippedSteps, "on_call_end", twice)
    with pytest.raises(KeyboardInterrupt):
        tftrain.train(config("training.steps_per_call=1"), tmp_path / "run")
    monkeypatch.undo()
    same(tftrain.train(config(), tmp_path / "run", resume=True), whole.result)


def test_a_nan_ends_a_run_once_and_for_all(config, tmp_path, capsys):
    given = config(
        "optimizer={name: sgd, learning_rate: 1e30}",
        "gradients={}",
        "model.batch_norm=false",
    )
    first = tftrain.train(given, tmp_path / "run")
    again = tftrain.train(given, tmp_path / "run", resume=True)
    assert (
        again.failed
        and again.stopped == first.stopped
        and "not finite" in first.stopped
    )
    assert (
        f"already ({first.stopped}), so nothing is done"
        in capsys.readouterr().out
    )


def test_a_changed_config_is_refused_with_every_change(whole, config):
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    with pytest.raises(RunFolderError) as caught:
        tftrain.train(
            config("model.dropout=0.5", "data.batch_size=16", "log.console=9"),
            whole.folder,
            resume=True,
        )
    head, *lines = str(caught.value).splitlines()
    assert "the config has changed; give --allow-changes" in head
    assert lines == [
        "  model.dropout: 0.2 -> 0.5",
        "  data.batch_size: 32 -> 16",
        "  log.console: auto -> 9",
    ]
    assert {
        path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")
    } == before


@pytest.mark.parametrize(
    "overrides, matters",
    [
        (["training.steps=30"], False),
        (["training.steps=null", "training.epochs=9"], False),
        (
            [
                "log={console: 3}",
                "checkpoint.max_to_keep=5",
                "checkpoint.every=9",
                "training.steps_per_call=3",
            ],
            False,
        ),
        (["checkpoint.best=loss", "log.scalars=3"], True),
        (["training.seed=4"], True),
        (["optimizer=sgd"], True),
    ],
)
def test_what_may_change(config, tmp_path, capsys, overrides, matters):
    atomic_files.write_text(tmp_path / "config.yaml", export.to_yaml(config()))
    assert (
        resume.config_changed(tmp_path, config(*overrides), allow=True)
        is matters
    )
    assert capsys.readouterr().out.startswith(
        "changed since the last session: "
    )
    assert resume.config_changed(tmp_path, config(), allow=False) is False


def test_how_often_checkpoints_are_made_may_not_change_where_a_run_goes_back_to_them(
    config, tmp_path
):
    atomic_files.write_text(
        tmp_path / "config.yaml",
        export.to_yaml(config("training.on_bad_step=rewind")),
    )
    with pytest.raises(RunFolderError, match="checkpoint.every: 3 -> 9"):
        resume.config_changed(
            tmp_path,
            config("training.on_bad_step=rewind", "checkpoint.every=9"),
            allow=False,
        )


def test_signals_to_a_process(tmp_path):
    """SIGTERM while one trains, and Ctrl-C twice within a long call of another one."""
    (tmp_path / "slow.py").write_text(
        "import keras, tensorflow as tf, time\n"
        "class Slow(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.05), [], [])]):\n"
        "            return tf.identity(x)\n"
    )
    model = "model={name: sequential, layers: [{name: 'slow:Slow'}, {name: dense, units: 3}]}"
    (tmp_path / "small.yaml").write_text(TEXT)
    words = [
        sys.executable,
        "-u",
        "-m",
        "tftrain",
        "--config",
        "small.yaml",
        "--set",
        "training.steps=100000",
    ]
    paths = {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(tftrain.__file__).parent.parent), str(tmp_path)]
        )
    }
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "cwd": tmp_path,
    }

    def start(name, *more):
        given = [*words, "--run-dir", name, "--set", "log.console=1", *more]
        return subprocess.Popen(
            given,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | paths,
            **pipes,
        )

    plain = start("plain")
    uncut = (
        "training.steps_per_call=40",
        "training.spike_factor=never",
        "training.validate_every=9000",
        "log.scalars=9000",
    )
    long = start(
        "long",
        *(
            word
            for one in (model, *uncut, "checkpoint.every=never")
            for word in ("--set", one)
        ),
    )
    next(line for line in plain.stdout if line.startswith("step"))
    plain.terminate()
    assert (
        "interrupted by SIGTERM at step" in plain.communicate(timeout=60)[1]
        and plain.returncode == 143
    )
    next(
        line for line in long.stdout if line.startswith("step")
    )  # from here on it is in a call
    for _ in range(2):
        time.sleep(0.3)
        long.send_signal(signal.SIGINT)
    assert long.wait(2) == 130  # a call takes 4 s


def test_the_points_are_on_the_disk_before_the_checkpoint_is(
    config, tmp_path, monkeypatch
):
    synced, real = [], os.fsync

    def sync(descriptor):
        synced.append(
            os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        )
        real(descriptor)

    def save(self, step):
        assert step not in (3, 6) or {"metrics.jsonl", "events.out.tf"} <= {
            name[:13] for name in synced
        }
        synced.clear()

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(CheckpointManager, "save", save)
    tftrain.train(config("training.steps=6"), tmp_path / "run")
