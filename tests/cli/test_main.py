from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tftrain import __version__
from tftrain.cli import main
from tftrain.config.registry import COMPONENT_KINDS

CONFIGS = sorted(
    (Path(__file__).parent.parent.parent / "configs").glob("*.yaml")
)


def run(capsys, *words):
    """(exit status, standard output, standard error)"""
    try:
        status = main([str(word) for word in words])
    except SystemExit as left:
        status = left.code
    told = capsys.readouterr()
    return status, told.out, told.err


def test_the_kinds_are_listed(capsys):
    status, out, err = run(capsys, "list")
    assert (
        status == 0
        and err == ""
        and all(f"{kind}: " in out for kind in COMPONENT_KINDS)
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["list", "optimisers"],
            "there is no kind of component 'optimisers'; expected one of model, data,",
        ),
        (["list", "optimisers"], "did you mean 'optimizer'?"),
        (
            ["--confg", "x"],
            "unrecognized arguments: --confg x; did you mean '--config'?",
        ),
        (["lst"], "unrecognized arguments: lst; did you mean 'list'?"),
        (["schema", "more"], "unrecognized arguments: more"),
        ([], "nothing to do: --config FILE is missing"),
        (["--print-config"], "--config FILE is missing"),
        (["--config"], "argument --config: expected one argument"),
        (
            ["--config", "a.yaml", "--config", "b.yaml"],
            "--config is given more than once; expected one value",
        ),
        (
            ["--config", "a.yaml", "--run-dir", "a", "--run-dir=a"],
            "--run-dir is given more than once",
        ),
        (
            ["sweep", "--config", "a", "--conf", "b"],
            "--config is given more than once",
        ),
        (
            ["inspect", "--config", "a", "--config", "b"],
            "--config is given more than once",
        ),
        (
            ["plot", "run", "--out", "a.png", "--out", "b.png"],
            "--out is given more than once",
        ),
        (
            ["board", "--port", "6006", "--port", "6006"],
            "--port is given more than once",
        ),
    ],
)
def test_wrong_words(capsys, words, message):
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1) and message in err


def test_a_wrong_config_ends_with_2_and_writes_nothing(
    capsys, desk, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    desk.write(
        "model: mpl\ndata: iris\noptimizer: adam\ntraining: {epochs: x}\n",
        "wrong.yaml",
    )
    status, out, err = run(
        capsys, "--config", "wrong.yaml", "--run-dir", "made"
    )
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "wrong.yaml:1:8: model: there is no model 'mpl'; did you mean 'mlp'?",
        "wrong.yaml:4:20: training.epochs: given the text 'x'; expected a whole number of at least 1 or null",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


def test_a_flag_is_told_as_the_place(capsys, desk):
    desk.write(desk.good)
    status, _, err = run(
        capsys,
        "--config",
        "config.yaml",
        "--set",
        "training.epochs=x",
        "--set",
        "log.grph=true",
    )
    assert status == 2 and [
        line.split(": ")[0] for line in err.splitlines()
    ] == [
        "--set log.grph=true",
        "--set training.epochs=x",
    ]


def test_to_resume_a_folder_without_a_config(capsys, tmp_path):
    status, out, err = run(capsys, "--resume", "--run-dir", tmp_path)
    assert (status, out) == (2, "") and "holds no config.yaml" in err


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_printed_config_prints_itself(capsys, tmp_path, path):
    status, printed, err = run(capsys, "--config", path, "--print-config")
    assert (status, err) == (0, "")
    (tmp_path / path.name).write_text(printed, encoding="utf-8")
    assert run(capsys, "--config", tmp_path / path.name, "--print-config") == (
        0,
        printed,
        "",
    )


def test_the_schema_is_json(capsys):
    status, out, err = run(capsys, "schema")
    assert (status, err) == (0, "") and json.loads(out)[
        "title"
    ] == "tftrain config"


def test_nothing_of_this_imports_tensorflow_or_keras(desk):
    desk.write(desk.good)
    desk.write(
        "model: {name: 'mine:typed', widht: 3}\ndata: iris\noptimizer: keras.optimizers.Adamm\n",
        "wrong.yaml",
    )
    code = """
import contextlib, io, sys
from tftrain.cli import main
status = []
for line in ("--help", "list", "schema", "--config wrong.yaml", "--config config.yaml --print-config"):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            status.append(main(line.split()))
        except SystemExit as left:
            status.append(left.code)
print(status, sorted({"tensorflow", "keras", "tensorboard", "sklearn", "numpy"} & set(sys.modules)))
"""
    path = os.environ | {"PYTHONPATH": str(CONFIGS[0].parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=path
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0, 2, 0] []\n", "")


def test_output_may_be_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["list", "model"]) == 0 and not sys.stdout.isatty()


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["train", "--version"],
        ["plot", "--version"],
        ["list", "--version"],
    ],
)
def test_every_command_tells_the_version(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert (
        ended.value.code == 0
        and capsys.readouterr().out == f"tftrain {__version__}\n"
    )


def test_a_run_is_prepared_without_tensorflow(tmp_path):
    """What is wrong with the folder is said in a tenth of a second, and TensorFlow starts without its noise."""
    code = (
        "import sys, tftrain, tftrain.cli.commands\n"
        "from tftrain.trainer.resume import check_run_dir\n"
        "check_run_dir(tftrain.load(sys.argv[1]), None, False, False)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(CONFIGS[0])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
