"""One process at a time has a folder, and none that has ended."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tftrain.runtime import run_lock
from tftrain.runtime.run_lock import RunDirLocked, hold_lock, lock_owner

HOLD = "import sys, time; from pathlib import Path; from tftrain.runtime.run_lock import hold_lock\n"
HOLD += "with hold_lock(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path):
    """Another process that has the folder."""
    root = str(Path(run_lock.__file__).parent.parent)
    command = [sys.executable, "-c", HOLD, tmp_path]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    )
    assert process.stdout.readline() == b"mine\n"
    yield process
    process.kill()
    process.wait()


def test_the_other_process_is_named_and_a_killed_one_has_nothing(
    tmp_path, other
):
    assert lock_owner(tmp_path) == f"process {other.pid}"
    with (
        pytest.raises(RunDirLocked, match=f"process {other.pid}"),
        hold_lock(tmp_path),
    ):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert lock_owner(tmp_path) is None and (tmp_path / ".lock").exists()
    with hold_lock(tmp_path):
        assert lock_owner(tmp_path) == f"process {os.getpid()}"
    assert lock_owner(tmp_path) is None and not (tmp_path / ".lock").exists()


def test_of_many_at_once_each_has_it_alone(tmp_path, monkeypatch):
    sleep = time.sleep
    monkeypatch.setattr(run_lock, "_TRIES", 100_000)
    monkeypatch.setattr(
        run_lock.time, "sleep", lambda seconds: sleep(seconds / 1000)
    )
    inside, done = [], []

    def take():
        for _ in range(20):
            with hold_lock(tmp_path):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()
        done.append(1)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4


def test_a_folder_that_is_gone_needs_no_lock_any_more(tmp_path):
    (tmp_path / "run").mkdir()
    with hold_lock(tmp_path / "run"):
        (tmp_path / "run" / ".lock").unlink()
        (tmp_path / "run").rmdir()
    assert not (tmp_path / "run").exists(), "nothing is made there again"


def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch):
    def refuse(*given):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)
    with pytest.warns(
        UserWarning,
        match="cannot be locked .Operation not supported.: start no second run",
    ):
        with hold_lock(tmp_path):
            pass
