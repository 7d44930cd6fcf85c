"""Imports TensorFlow without its start-up noise, and without hiding what a native library really has to say."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

# Known lines that say nothing is wrong. TF_CPP_MIN_LOG_LEVEL does not reach them: they come before logging is set up,
# twice, once from each of TensorFlow's shared libraries; and level 3 would hide every native error as well.
NOISE = re.compile(
    rb"""All\ log\ messages\ before\ absl::InitializeLog
    | oneDNN\ custom\ operations\ are\ on
    | Could\ not\ find\ cuda\ drivers\ on\ your\ machine
    | This\ TensorFlow\ binary\ is\ optimized\ to\ use\ available\ CPU\ instructions
    | ^To\ enable\ the\ following\ instructions:.*rebuild\ TensorFlow
    | failed\ call\ to\ cuInit:.*(UNKNOWN\ ERROR\ \(303\)|no\ CUDA-capable\ device)
    | Unable\ to\ register\ cu(FFT|DNN|BLAS)\ factory
    | computation\ placer\ already\ registered
    | TF-TRT\ Warning:\ Could\ not\ find\ TensorRT
    | cuda_diagnostics\.cc.*(retrieving\ CUDA\ diagnostic|hostname:|kernel\ driver\ does\ not\ appear\ to\ be\ running)
    """,
    re.VERBOSE,
)
STOPS = {signal.SIGINT, signal.SIGTERM}


def pass_on(source: BinaryIO, sink: BinaryIO) -> None:
    """Copies lines from source to sink as they come, less the noise."""
    for line in source:
        if not NOISE.search(line):
            sink.write(line)
            sink.flush()


@contextmanager
def filtered_stderr() -> Iterator[None]:
    """Filters file descriptor 2 while the block runs; does nothing on Windows or where TFTRAIN_VERBOSE=1.

    The filter is a process of its own, so the last words of a native abort still come through.
    """
    if (
        os.name != "posix"
        or os.environ.get("TFTRAIN_VERBOSE") == "1"
        or sys.stderr is None
    ):
        yield
        return
    sys.stderr.flush()
    # Blocked here, Ctrl-C cannot come between taking descriptor 2 and the `finally`; and the filter, which inherits the
    # block, outlives a Ctrl-C on its terminal until it has passed everything on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    real = os.dup(2)
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield
    finally:
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        os.dup2(
            real, 2
        )  # the last writer of the pipe is gone, so the filter reads to its end and leaves
        os.close(real)
        child.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def module_hidden(package: str) -> Iterator[None]:
    """Makes a package look absent while the block runs, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None
    try:
        yield
    finally:
        del sys.modules[package]


@contextmanager
def cwd_off_path() -> Iterator[None]:
    """Keeps the working directory out of the search for modules while the block runs.

    TensorFlow tries to import many packages that need not be there, and a file in a user's folder may have the name of
    one, such as pandas.py.
    """
    try:
        here = ("", os.getcwd())
    except FileNotFoundError:  # the folder was deleted
        here = ("",)
    out = [folder for folder in sys.path if folder in here]
    sys.path[:] = [folder for folder in sys.path if folder not in here]
    try:
        yield
    finally:
        sys.path += out


@contextmanager
def gc_frozen(package: str) -> Iterator[None]:
    """What a package makes while the block imports it stays to the end, and is never looked through for garbage.

    TensorFlow makes a million objects, and Python looks through them several times, also on its way out.
    """
    if package in sys.modules:
        yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.freeze)
        if was_enabled:
            gc.enable()


def import_tensorflow():
    """Imports TensorFlow and Keras, lists the devices once, and returns the `tensorflow` module.

    Keras imports scikit-learn for its own wrappers alone, which takes about a second, so it is kept out meanwhile;
    scikit-learn itself can be imported afterwards as ever.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if os.environ.get("TFTRAIN_VERBOSE") != "1":
        os.environ.setdefault(
            "TF_CPP_MIN_LOG_LEVEL", "1"
        )  # leaves out INFO alone, such as "End of sequence"
    from tftrain.runtime.working_directory import import_matplotlib

    with (
        filtered_stderr(),
        module_hidden("sklearn"),
        cwd_off_path(),
        gc_frozen("tensorflow"),
    ):
        import_matplotlib()  # which Keras would import
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
    return tf


if __name__ == "__main__":
    pass_on(sys.stdin.buffer, sys.stderr.buffer)
