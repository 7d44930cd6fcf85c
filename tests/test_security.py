"""What a config, a data set or a file beside them must not be able to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tftrain

ROOT = Path(__file__).resolve().parent.parent
# Modules of Python and of ours that a run imports, and packages that TensorFlow asks for where they are not installed.
NAMES = ("yaml", "random", "json", "numpy", "pandas", "jax", "cv2", "IPython", "keras", "rich", "sklearn", "simplejson")
EVIL = """
import keras


class Climbing(keras.Model):
    def __init__(self, *, outputs: int):
        super().__init__(name="..")
        self.first = keras.layers.Dense(4, name="..")
        self.last = keras.layers.Dense(outputs, name="..up")

    def call(self, x):
        return self.last(self.first(x))


def climb(y_true, y_pred):
    return keras.ops.mean(y_pred)


climb.__name__ = "../../climb"
"""


def test_no_file_of_the_working_directory_is_imported_by_accident(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open('{name} was run', 'w')\nraise SystemExit('{name}')\n")
    (tmp_path / "own.py").write_text("import numpy as np\n\n\ndef data():\n    return np.eye(4), [0, 1, 0, 1]\n")
    config = tmp_path / "config.yaml"
    config.write_text("model: mlp\ndata: {name: 'own:data', batch_size: 2}\noptimizer: sgd\ntraining: {steps: 2}\n")
    command = [sys.executable, "-m", "tftrain", "--config", "config.yaml", "--run-dir", "run"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "run" / "model.keras").is_file()
    assert not list(tmp_path.glob("* was run"))


def test_names_do_not_lead_out_of_the_run_folder(tmp_path, monkeypatch):
    home = tmp_path / "a" / "b" / "c"
    home.mkdir(parents=True)
    (home / "climbing.py").write_text(EVIL)
    (home / "..%2f..;x.yaml").write_text(
        "model: 'climbing:Climbing'\ndata: {name: wine, validation: 0.2}\noptimizer: sgd\nmetrics: ['climbing:climb']\n"
        "training: {steps: 4}\nlog: {histograms: [gradients, weights, updates, activations]}\n"
        "checkpoint: {best: val_climb, every: 2}\n"
    )
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    result = tftrain.train(tftrain.load("..%2f..;x.yaml"))
    assert result.folder.resolve().parent == home / "runs"
    files = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path for path in files if home / "runs" not in path.parents} == {
        home / "climbing.py",
        home / "..%2f..;x.yaml",
    }
    assert all(".." not in path.name for path in result.folder.rglob("*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: !!python/object/apply:os.system [touch hacked]\n", "1:8: the tag !!python/object/apply:os.system is"),
        ("model: !!python/name:os.system\n", "1:8: the tag !!python/name:os.system is refused"),
        ("model: " + "[" * 10_000, "1:57: nested deeper than 50 levels"),
        ("a" * 200_000 + ": 1\n", "1:200001: not valid YAML: mapping values are not allowed here"),
        ("model: mlp\ndata: iris\noptimizer: adam\x00\n", "3:16: not valid YAML: the character '\\x00' is not allowed"),
        ("model: mlp\n".encode("utf-16"), "1:1: the byte 0xff is not UTF-8; save the file as UTF-8 text"),
        ("model: mlp\n".encode("utf-32"), "1:1: the byte 0xff is not UTF-8; save the file as UTF-8 text"),
    ],
)
def test_hostile_text_is_refused_in_one_short_line(desk, text, message):
    (only,) = desk.problems(text)
    assert only.startswith(message) and len(only) < 2100
    assert not Path("hacked").exists()


def test_many_problems_and_long_names_are_cut(desk):
    found = desk.refused(desk.good + "".join(f"k{number}: 1\n" for number in range(10_000)))
    assert len(found.problems) == 10_000 and str(found).count("\n") == 100
    assert str(found).endswith("\nand 9900 more problems")
    (only,) = desk.problems(desk.good + "? " + "a" * 200_000 + "\n: 1\n")
    assert len(only) < 2100 and " ... " in only and only.endswith("log, checkpoint")
