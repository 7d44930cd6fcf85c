"""`python -m tftrain board`: TensorBoard in a process of ours."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tftrain.cli import main
from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.reporting.tensorboard.protocol import PLUGIN
from tftrain.reporting.tensorboard_plugin.serve import (
    _check_folder,
    _log_directory,
)

ROOT = Path(__file__).resolve().parent.parent.parent


def write_run(folder):
    folder.mkdir(parents=True)
    board = TensorBoardLogger(folder)
    board(
        1,
        LogData(
            {
                "loss": 1.0,
                "grad_norm/000.a/kernel": 1.0,
                "clipped_grad_norm/000.a/kernel": 1.0,
            }
        ),
    )
    board.close()
    return folder


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_two_runs_are_shown_by_name_on_the_next_free_port(tmp_path, ending):
    runs = [
        str(write_run(tmp_path / place / name))
        for place, name in (("here", "one"), ("there", "two"))
    ]
    (tmp_path / "made").mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path / "made"),
    }
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        words = [
            sys.executable,
            "-m",
            "tftrain",
            "board",
            *runs,
            "--port",
            str(port),
        ]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            words,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        said = [process.stdout.readline() for _ in range(3)]
    url = said[1].split()[1]
    found, deadline = {}, time.monotonic() + 20
    while len(found) < 2 and time.monotonic() < deadline:
        found = json.load(
            urllib.request.urlopen(f"{url}data/plugin/{PLUGIN}/runs")
        )
        time.sleep(0.1)
    listed = [*json.load(urllib.request.urlopen(f"{url}data/plugins_listing"))]
    [made] = (tmp_path / "made").glob("tftrain-board-*")
    process.send_signal(ending)
    out, errors = process.communicate(timeout=20)
    assert said[0] == f"port {port} is taken; this is the next free one\n"
    assert int(url.rstrip("/").rpartition(":")[2]) > port
    assert said[2].split() == ["Gradients:", f"{url}#{PLUGIN}"]
    assert [*found] == ["one", "two"] and listed[:2] == ["timeseries", PLUGIN]
    assert (process.returncode, out, errors) == (0, "", "")
    assert not made.exists() and (tmp_path / "here" / "one").exists()


def test_links_to_runs_and_runs_within_runs_have_names_of_their_own(tmp_path):
    outer = write_run(tmp_path / "x" / "x")
    inner = write_run(outer / "x")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "one").symlink_to(outer, target_is_directory=True)
    _check_folder(tmp_path / "linked")
    (tmp_path / "made").mkdir()
    made = _log_directory([outer, inner], tmp_path / "made")
    assert sorted(path.name for path in made.iterdir()) == ["x", "x-x"]
    assert not (outer / "x" / "x").exists(), "nothing is made within a run"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "runs: there is no such folder; give that of a run, or one that runs are in\n",
        ),
        (
            ["empty"],
            "empty: holds no run; python -m tftrain --config FILE makes one\n",
        ),
        (["one", "one"], "given the same run twice; expected each once\n"),
        (["one", "--host", "no such host"], "--host no such host: "),
        (
            ["one", "--port", "0"],
            "python -m tftrain board: --port 0: expected 1 to 65535 (--help shows what there is)\n",
        ),
    ],
)
def test_what_cannot_be_shown_is_told(
    tmp_path, monkeypatch, capsys, words, said
):
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["board", *words])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert capsys.readouterr().err.startswith(said)
