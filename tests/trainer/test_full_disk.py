"""Where a file of the run cannot be written any more, the run ends with one line, and goes on when it can be."""

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest

import tftrain
from tftrain.core.checkpoint import CheckpointManager
from tftrain.models import serialization
from tftrain.runtime import run_dir
from tftrain.runtime.atomic_files import WriteError
from tftrain.runtime.errors import InputError, TrainingError

CONFIG = """
model: {name: mlp, hidden: [8]}
data: {name: wine, batch_size: 40, validation: 0.1, test: 0.1, preprocess: standardize}
optimizer: {name: adam, learning_rate: 1e-2}
training: {steps: 60, seed: 3, steps_per_call: 7}
log: {scalars: 1, histograms_every: 5, graph: false, console: 1000 epochs}
checkpoint: {every: 10}
"""
# The files of logs are the smallest then.
QUIET = [
    "log.scalars=1000",
    "training.validate_every=1000",
    "log.histograms_every=never",
    "checkpoint.best=null",
]


@contextmanager
def room(most_bytes):
    """No file can grow beyond this; for the process it is as a full disk is, but for the name of the error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(autouse=True)
def begun(monkeypatch):
    """A run that there was room enough to begin."""
    monkeypatch.setattr(run_dir, "PROBE_BYTES", 1)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Trains in a folder, which no file may fill more than so far."""
    path = tmp_path_factory.mktemp("disk") / "small.yaml"
    path.write_text(CONFIG)

    def train(folder, *settings, most=resource.RLIM_INFINITY, resume=False):
        config = tftrain.load(path, settings)
        with room(most):
            return tftrain.train(config, folder, resume)

    return train


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    return start(tmp_path_factory.mktemp("whole") / "run")


def test_a_log_that_finds_no_room_costs_nothing_but_time(
    start, whole, tmp_path
):
    folder = tmp_path / "run"
    size = (whole.folder / "metrics.jsonl").stat().st_size
    with pytest.raises(
        TrainingError,
        match=r"^at step \d\d .*/run/(metrics|events).* cannot be written: File too large; ",
    ) as told:
        start(folder, most=size * 2 // 3)
    assert "--resume --run-dir" in str(
        told.value
    ) and "begins at the last checkpoint, of step" in str(told.value)
    resumed = start(folder, resume=True)
    assert resumed.results == whole.results
    for left, right in zip(
        resumed.model.get_weights(), whole.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(left, right)
    assert lines(folder) == lines(whole.folder)


def lines(folder):
    """What the run logged, without its times."""
    found = [
        json.loads(line)
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    timed = ("wall_seconds", "step_ms", "examples_per_second")
    return [
        {name: value for name, value in line.items() if name not in timed}
        for line in found
    ]


def test_each_file_that_finds_no_room_is_named(start, tmp_path):
    sizes = {
        path.name: path.stat().st_size
        for path in start(tmp_path / "all", *QUIET).folder.iterdir()
    }
    assert max(sizes, key=sizes.get) == "model.keras"
    with pytest.raises(
        TrainingError,
        match=r"^at step 60 .*run/model.keras cannot be written: File too large; .* step 60$",
    ):
        start(tmp_path / "run", *QUIET, most=sizes["model.keras"] - 1)
    assert {"config.yaml", "checkpoints"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    assert not [
        path
        for path in (tmp_path / "run").iterdir()
        if path.name.startswith((".", "model", "results"))
    ]
    with pytest.raises(
        TrainingError,
        match=r"^at step 10 .*new/checkpoints cannot be written: File too large; .* no ch",
    ):
        start(tmp_path / "new", *QUIET, "model.hidden=[64]", most=8000)
    with pytest.raises(
        TrainingError,
        match=r"^at step 0 .*/events.* cannot be written: File too large; ",
    ):
        start(tmp_path / "graph", *QUIET, "log.graph=true", most=5000)


def test_a_run_whose_folder_is_deleted_says_so(start, tmp_path, monkeypatch):
    save = CheckpointManager.save

    def delete_first(self, step):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        save(self, step)

    monkeypatch.setattr(CheckpointManager, "save", delete_first)
    with pytest.raises(
        TrainingError,
        match=r"^at step 10 .*run/checkpoints cannot be written: No such file or directory",
    ):
        start(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_has_no_good_checkpoint_left_says_so(start, tmp_path):
    start(tmp_path / "run", *QUIET, "training.steps=20")
    for path in (tmp_path / "run" / "checkpoints").glob("*.index"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(InputError, match="no checkpoint in .* is whole$"),
    ):
        start(tmp_path / "run", *QUIET, "training.steps=30", resume=True)


class Odd(keras.layers.Dense):
    def get_config(self):
        raise NotImplementedError("odd")


def test_weights_that_find_no_room_end_no_process(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Odd(3)])
    with (
        room(10_000),
        pytest.raises(
            WriteError,
            match=r"model.weights.h5 cannot be written: File too large$",
        ),
    ):
        serialization.save(model, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
    with pytest.warns(UserWarning, match="only its weights are"):
        serialization.save(model, tmp_path / "model.keras")
    assert [path.name for path in Path(tmp_path).iterdir()] == [
        "model.weights.h5"
    ]
