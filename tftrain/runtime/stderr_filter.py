"""Keeps known start-up noise of native libraries off standard error; run as a script, it is the filter itself."""

from __future__ import annotations

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
    """Copy lines as they come, leaving out the noise.

    Args:
        source: what a process writes to standard error.
        sink: the real standard error.
    """
    for line in source:
        if not NOISE.search(line):
            sink.write(line)
            sink.flush()


@contextmanager
def filtered_stderr() -> Iterator[None]:
    """Filter file descriptor 2 while the block runs; do nothing on Windows or where TFTRAIN_VERBOSE=1.

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
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    real = os.dup(2)
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        yield
    finally:
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        # With the last writer of the pipe gone, the filter reads to its end and exits.
        os.dup2(real, 2)
        os.close(real)
        child.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


if __name__ == "__main__":
    pass_on(sys.stdin.buffer, sys.stderr.buffer)
