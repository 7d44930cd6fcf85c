"""What a config, a data set or a file beside them must not be able to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path

import pytest

import tftrain
from tftrain.runtime.working_directory import GuardedFinder

ROOT = Path(__file__).resolve().parent.parent.parent
# Modules of Python and of ours that a run imports, and packages that TensorFlow asks for where they are not installed.
NAMES = (
    "yaml",
    "random",
    "json",
    "numpy",
    "pandas",
    "jax",
    "cv2",
    "IPython",
    "keras",
    "rich",
    "sklearn",
    "simplejson",
)
# Those that joblib, tensorflow-datasets, matplotlib, TensorBoard and Python itself ask for.
NAMES += (
    "lz4",
    "msvcrt",
    "_winapi",
    "winreg",
    "org",
    "zstandard",
    "brotli",
    "chardet",
    "snappy",
    "pydot",
    "cython",
)
NAMES += (
    "tensorboard_plugin_profile",
    "tensorboard_plugin_wit",
    "googleapiclient",
    "dill",
    "objgraph",
    "socks",
)
OWN = """
import joblib
import numpy as np
from helper import ROWS


def data():
    import late

    return np.eye(ROWS), late.LABELS
"""
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


@pytest.mark.long
def test_no_file_of_the_working_directory_is_imported_by_accident(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(
            f"open('{name} was run', 'w')\nraise SystemExit('{name}')\n"
        )
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "helper.py").write_text("ROWS = 4\n")
    (tmp_path / "late.py").write_text("LABELS = [0, 1, 0, 1]\n")
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nbackend: module://lz4\n"
    )
    packaged = tmp_path / "evil-1.0.dist-info"
    packaged.mkdir()
    (packaged / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
    )
    (packaged / "entry_points.txt").write_text(
        "[tensorboard_plugins]\nevil = lz4:Plugin\n"
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: mlp\ndata: {name: 'own:data', batch_size: 2}\noptimizer: sgd\ntraining: {steps: 2}\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*words):
        command = [sys.executable, "-m", "tftrain", *words]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=env
        )

    done = run(
        "--config",
        "config.yaml",
        "--run-dir",
        "run",
        "--set",
        "log.plots=[curves]",
    )
    assert (done.returncode, done.stderr) == (0, "") and (
        tmp_path / "run" / "model.keras"
    ).is_file()
    for words in (("plot", "run"), ("report", "run")):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
    board = [sys.executable, "-m", "tftrain", "board", "run", "--port", "16006"]
    with subprocess.Popen(
        board,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    ) as shown:
        assert b"TensorBoard: " in shown.stdout.readline()
        shown.send_signal(signal.SIGINT)
    assert not list(tmp_path.glob("* was run"))


@pytest.mark.parametrize(
    ("file", "name", "allowed"),
    [
        ("own.py", "own", True),
        ("pack/inner.py", "pack.inner", True),
        (".venv/lib/joblib/compressor.py", "joblib.compressor", False),
        ("../elsewhere/joblib.py", "joblib", False),
        (
            "tftrain/reporting/plot_curves.py",
            "tftrain.reporting.plot_curves",
            False,
        ),
        ("tftrain/config/importing.py", "tftrain.config.importing", True),
        ("linked.py", "linked", True),
        ("shared/inner.py", "shared.inner", True),
        ("linked_env/joblib.py", "joblib", False),
    ],
)
def test_who_may_import_from_the_working_directory(
    tmp_path, monkeypatch, file, name, allowed
):
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    for link, target in (
        ("linked.py", "own.py"),
        ("shared", "shared"),
        ("linked_env", "env"),
    ):
        (tmp_path / link).symlink_to(elsewhere / target)
    for entry in (
        tmp_path,
        tmp_path / ".venv" / "lib",
        tmp_path / "linked_env",
    ):
        monkeypatch.syspath_prepend(str(entry))
    (tmp_path / "wanted_here.py").write_text("")
    finder = GuardedFinder(
        str(tmp_path), FileFinder(str(tmp_path), (SourceFileLoader, [".py"]))
    )
    space = {
        "__name__": name,
        "__file__": str(tmp_path / file),
        "finder": finder,
    }
    exec("spec = finder.find_spec('wanted_here')", space)
    assert (space["spec"] is not None) == allowed


def test_code_of_no_file_imports_as_who_runs_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wanted_here.py").write_text("")
    finder = GuardedFinder(
        str(tmp_path), FileFinder(str(tmp_path), (SourceFileLoader, [".py"]))
    )
    runs = "exec(\"spec = finder.find_spec('wanted_here')\", made)"
    for file, allowed in (("own.py", True), ("../elsewhere/joblib.py", False)):
        made = {"__name__": "made", "finder": finder}
        exec(
            runs,
            {
                "__name__": "maker",
                "__file__": str(tmp_path / file),
                "made": made,
            },
        )
        assert (made["spec"] is not None) == allowed


@pytest.mark.parametrize("kind", ["settings", "garbage", "pipe"])
def test_a_matplotlibrc_of_the_working_directory_is_never_opened(
    tmp_path, kind
):
    file = tmp_path / "matplotlibrc"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.write_bytes(
            {
                "settings": b"text.usetex: True\n",
                "garbage": b"\xff\xfe\0 no setting",
            }[kind]
        )
    code = (
        "import os, tftrain.runtime.working_directory as w; here = os.getcwd(); m = w.import_matplotlib(); "
        "assert os.getcwd() == here; print(m.rcParams['text.usetex'])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


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
    files = {
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {path for path in files if home / "runs" not in path.parents} == {
        home / "climbing.py",
        home / "..%2f..;x.yaml",
    }
    assert all(".." not in path.name for path in result.folder.rglob("*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model: !!python/object/apply:os.system [touch hacked]\n",
            "1:8: the tag !!python/object/apply:os.system is",
        ),
        (
            "model: !!python/name:os.system\n",
            "1:8: the tag !!python/name:os.system is refused",
        ),
        ("model: " + "[" * 10_000, "1:57: nested deeper than 50 levels"),
        (
            "a" * 200_000 + ": 1\n",
            "1:200001: not valid YAML: mapping values are not allowed here",
        ),
        (
            "model: mlp\ndata: iris\noptimizer: adam\x00\n",
            "3:16: not valid YAML: the character '\\x00' is not allowed",
        ),
        (
            "model: mlp\n".encode("utf-16"),
            "1:1: the byte 0xff is not UTF-8; save the file as UTF-8 text",
        ),
        (
            "model: mlp\n".encode("utf-32"),
            "1:1: the byte 0xff is not UTF-8; save the file as UTF-8 text",
        ),
    ],
)
def test_hostile_text_is_refused_in_one_short_line(desk, text, message):
    (only,) = desk.problems(text)
    assert only.startswith(message) and len(only) < 2100
    assert not Path("hacked").exists()


def test_many_problems_and_long_names_are_cut(desk):
    found = desk.refused(
        desk.good + "".join(f"k{number}: 1\n" for number in range(10_000))
    )
    assert len(found.problems) == 10_000 and str(found).count("\n") == 100
    assert str(found).endswith("\nand 9900 more problems")
    (only,) = desk.problems(desk.good + "? " + "a" * 200_000 + "\n: 1\n")
    assert (
        len(only) < 2100
        and " ... " in only
        and only.endswith("log, checkpoint")
    )
