"""A process that trains for ever and tells, when it is asked, how fast; and whoever starts, stops and asks it."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmark_runner import Entry

SCRIPTS = Path(__file__).resolve().parent
POLL_SECONDS = 0.001
SETTLE_SECONDS = 0.3  # after a stop, before a measurement
MOST_SHOWN = 2000  # characters of what a worker that died had to say


class Chunk(NamedTuple):
    """Steps done in so many seconds of wall clock, from the end of one step to the end of another."""

    steps: int
    seconds: float
    others: float  # CPU cores that other programs used meanwhile; NaN where the system does not tell

    @property
    def speed(self) -> float:
        return self.steps / self.seconds


class Worker:
    """Owns a process that trains one workload with one peer; between two questions it is stopped and uses no CPU."""

    def __init__(
        self,
        peer: str,
        workload: str,
        folder: Path,
        log_every: int,
        settings: list[str],
    ):
        folder.mkdir(parents=True)
        self.peer, self.folder = peer, folder
        said = json.dumps([peer, workload, str(folder), log_every, settings])
        self._log = open(folder / "log.txt", "wb")
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "benchmark_worker.py"), said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=folder,
            env=worker_environment(),
            text=True,
        )
        try:
            self.facts = self._heard()  # after the first step
        except BaseException:
            self.close()
            raise

    def measure(self, settle_seconds: float, seconds: float) -> Chunk:
        """Let it go on, and time it after `settle_seconds`; raises RuntimeError where it has died."""
        before, began = (
            cpu_seconds_of_others(self._process.pid),
            time.perf_counter(),
        )
        self._process.send_signal(signal.SIGCONT)
        print(settle_seconds, seconds, file=self._process.stdin, flush=True)
        steps, taken = self._heard()
        self._process.send_signal(signal.SIGSTOP)
        used = cpu_seconds_of_others(self._process.pid) - before
        return Chunk(steps, taken, used / (time.perf_counter() - began))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _heard(self):
        line = self._process.stdout.readline()
        if not line:
            last = (self.folder / "log.txt").read_text(
                encoding="utf-8", errors="replace"
            )[-MOST_SHOWN:]
            raise RuntimeError(f"{self.peer} ended:\n{last}")
        return json.loads(line)


def worker_environment() -> dict[str, str]:
    """The environment of a process that finds tftrain and these scripts, and may share a GPU with its like."""
    paths = [
        str(SCRIPTS.parents[1]),
        str(SCRIPTS),
        os.environ.get("PYTHONPATH", ""),
    ]
    wanted = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "KERAS_BACKEND": "tensorflow",
    }
    return {
        **os.environ,
        **wanted,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }


def cpu_seconds_of_others(process: int) -> float:
    """CPU time that all other processes of the machine have used; NaN where /proc does not tell."""
    try:
        every = (
            Path("/proc/stat")
            .read_text(encoding="utf-8")
            .splitlines()[0]
            .split()[1:9]
        )
        own = (
            Path(f"/proc/{process}/stat")
            .read_text(encoding="utf-8")
            .rpartition(")")[2]
            .split()[11:13]
        )
    except OSError:
        return float("nan")
    user, nice, system, _, _, *interrupts_and_stolen = map(int, every)
    ticks = (
        user + nice + system + sum(interrupts_and_stolen) - sum(map(int, own))
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def after_next_step(steps: Callable[[], int]) -> tuple[int, float]:
    """How many steps are done, and the time, as soon as there is one more."""
    before = steps()
    while (done := steps()) == before:
        time.sleep(POLL_SECONDS)
    return done, time.perf_counter()


def answer(steps: Callable[[], int], facts: dict, tell: Callable) -> None:
    """Wait for the first step, then time a stretch for each line of standard input."""
    began = time.perf_counter()
    while not steps():
        time.sleep(POLL_SECONDS)
    tell(facts | {"first_step_seconds": time.perf_counter() - began})
    for line in sys.stdin:
        settle_seconds, seconds = map(float, line.split())
        time.sleep(settle_seconds)
        first, began = after_next_step(steps)
        time.sleep(seconds)
        last, ended = after_next_step(steps)
        tell((last - first, ended - began))
    os._exit(0)


def main(said: str) -> None:
    peer, workload, folder, log_every, settings = json.loads(said)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a peer prints goes to the log
    # TensorFlow and PyTorch keep out of each other's way.
    peers = importlib.import_module(
        "benchmark_lightning"
        if peer.startswith("lightning")
        else "benchmark_peers"
    ).PEERS
    runner = peers[peer](Entry(workload, Path(folder), log_every, settings))

    def tell(what) -> None:
        print(json.dumps(what), file=answers, flush=True)

    threading.Thread(
        target=answer, args=(runner.steps, runner.facts, tell), daemon=True
    ).start()
    runner.train()


if __name__ == "__main__":
    main(sys.argv[1])
