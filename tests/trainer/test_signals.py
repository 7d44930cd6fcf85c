"""Signals to processes that hang: within a call that lets other threads run, and within one that keeps Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tftrain

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
PATHS = {"PYTHONPATH": str(Path(tftrain.__file__).parent.parent)}
# A lock that is taken twice waits for ever, and no signal wakes it as it would wake a sleep.
HANGS = """
import ctypes, signal, sys
from tftrain.trainer import signals
signals.IDLE_SECONDS, signals.NOTICE_SECONDS, signals.TICK_SECONDS = {idle}, 0.2, 0.1
library, lock = ctypes.{library}(None), ctypes.create_string_buffer(128)
library.pthread_mutex_lock(lock)
with signals.{context}():
    print("hangs", flush=True)
    library.pthread_mutex_lock(lock)
"""
LETS_RUN, KEEPS = "CDLL", "PyDLL"
WORKS = """
import hashlib, sys, time
from pathlib import Path
from tftrain.trainer import signals
from tftrain.runtime.atomic_files import raising_write_error

def compute():
    for _ in range(3):
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 3_000_000)

def wait_for_the_disk():
    with raising_write_error(Path("model.keras")):
        time.sleep(2)

signals.IDLE_SECONDS, signals.TICK_SECONDS = 0.5, 0.1
try:
    with signals.handling_signals() as heard, heard.deferred():
        print("works", flush=True)
        {work}()
        print("done", flush=True)
except signals.Interrupted as interrupted:
    sys.exit(interrupted.status)
"""
ENDLESS = """
import time
import numpy as np, tensorflow as tf
def data(hangs: bool = True):
    passes = []
    def examples():
        passes.append(1)
        for number in range(64):
            if hangs and len(passes) > 2 and number == 40:
                print("hangs", flush=True)
                time.sleep(1000)
            yield np.full(4, number / 64, "float32"), number % 2
    spec = (tf.TensorSpec([4], tf.float32), tf.TensorSpec([], tf.int64))
    return tf.data.Dataset.from_generator(examples, output_signature=spec)
"""
CONFIG = """
model: mlp
data: {name: "endless:data", batch_size: 8}
optimizer: sgd
training: {steps: 1000000}
log: {scalars: 10, histograms_every: never, console: 5}
"""


def start(words, **more):
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }
    return subprocess.Popen(
        [sys.executable, "-u", *words], env=os.environ | PATHS, **pipes, **more
    )


def run_until(process, text):
    next(line for line in process.stdout if text in line)
    time.sleep(0.7)  # what is printed before a call is not within it yet


def ended(process, numbers, seconds=5.0):
    """The exit status after these signals, and what was printed since."""
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output


@pytest.mark.parametrize(
    ("context", "library", "numbers", "status"),
    [
        ("handling_signals", LETS_RUN, [TERM, TERM], 128 + TERM),
        ("handling_signals", LETS_RUN, [HUP, TERM], 128 + TERM),
        ("handling_signals", KEEPS, [TERM, TERM], -TERM),
        ("watched", LETS_RUN, [INT, INT], 128 + INT),
        ("watched", KEEPS, [INT, INT], -INT),
    ],
)
def test_a_second_signal_ends_a_process_that_hangs(
    context, library, numbers, status
):
    process = start(
        ["-c", HANGS.format(idle=100, context=context, library=library)]
    )
    run_until(process, "hangs")
    assert ended(process, numbers)[0] == status


@pytest.mark.parametrize(
    "context, number",
    [("handling_signals", TERM), ("handling_signals", HUP), ("watched", INT)],
)
def test_one_signal_ends_a_process_that_hangs_for_some_time(context, number):
    process = start(
        ["-c", HANGS.format(idle=1, context=context, library=LETS_RUN)]
    )
    run_until(process, "hangs")
    status, output = ended(process, [number])
    assert status == 128 + number
    name = signal.Signals(number).name
    assert output.splitlines() == [
        f"interrupted by {name}; the run stops after the call that it is in, a second signal ends it at once",
        f"interrupted by {name}; the run hangs, perhaps in its data, and is ended without saving",
    ]


@pytest.mark.parametrize("work", ["compute", "wait_for_the_disk"])
def test_one_signal_waits_for_work_that_is_done(work):
    process = start(["-c", WORKS.format(work=work)])
    run_until(process, "works")
    assert ended(process, [TERM], 60) == (128 + TERM, "done\n")


@pytest.mark.parametrize("context", ["handling_signals", "watched"])
def test_what_was_ignored_stays_ignored(context):
    """As under nohup, and in what a script starts in the background."""

    def ignore():
        signal.signal(INT, signal.SIG_IGN)
        signal.signal(HUP, signal.SIG_IGN)

    process = start(
        ["-c", HANGS.format(idle=0.5, context=context, library=LETS_RUN)],
        preexec_fn=ignore,
    )
    run_until(process, "hangs")
    for number in (INT, INT, HUP, HUP):
        process.send_signal(number)
    time.sleep(1.5)
    assert process.poll() is None
    assert ended(process, [TERM, TERM])[0] in (
        128 + TERM,
        -TERM,
    )  # the latter where nobody has asked to hear it


def test_signals_are_answered_as_before_once_nobody_watches():
    from tftrain.trainer import signals

    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with (
        signals.watched() as outer,
        signals.handling_signals(),
        signals.watched() as inner,
    ):
        assert outer is inner
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), INT)
        time.sleep(1)


@pytest.mark.long
def test_a_run_whose_data_hangs_ends(tmp_path):
    """At a second signal, and some time after the first; and what nohup started trains on after Ctrl-C."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    (tmp_path / "endless.yaml").write_text(CONFIG)
    imports = "import sys; from tftrain.cli import commands; from tftrain.trainer import signals"
    code = (
        f"{imports}; signals.IDLE_SECONDS = 3; sys.exit(commands.run_process())"
    )

    def train(name, *words, **more):
        return start(
            ["-c", code, "--config", "endless.yaml", "--run-dir", name, *words],
            cwd=tmp_path,
            **more,
        )

    def ignore():
        signal.signal(INT, signal.SIG_IGN)

    twice, once = train("twice"), train("once")
    nohup = train("nohup", "--set", "data.hangs=false", preexec_fn=ignore)
    for process in (twice, once):
        run_until(process, "hangs")
    assert ended(twice, [TERM, INT])[0] == 128 + INT
    status, output = ended(once, [TERM], 30)
    assert (
        status == 128 + TERM and "the run hangs, perhaps in its data" in output
    )
    run_until(nohup, "step")
    nohup.send_signal(INT)
    time.sleep(1)
    run_until(nohup, "step")
    status, output = ended(nohup, [TERM], 30)
    assert status == 128 + TERM and "interrupted by SIGTERM at step" in output
