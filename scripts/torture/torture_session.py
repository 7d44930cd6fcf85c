"""A session of training in a fork of this process, which has imported TensorFlow and run nothing of it."""

from __future__ import annotations

import atexit
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tensorflow.python.lib.io import _pywrap_file_io

from tftrain.cli import main

HANGS = 180.0  # seconds after which a session is held to hang
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
)
NATIVE = (
    "DeleteFile",
    "CreateDir",
    "RecursivelyCreateDir",
    "RenameFile",
    "CopyFile",
    "DeleteRecursively",
)


class Session:
    """Owns the process of `python -m tftrain WORDS`, and all that it prints."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        arm: Callable[[], None] = lambda: None,
    ):
        self.output, self.status = b"", None
        self._reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(words, folder, arm, writing)
        os.close(writing)
        os.set_blocking(self._reading, False)

    def prints(self, text: bytes, seconds: float = HANGS) -> bool:
        """Whether the session prints this before it ends."""
        until = time.monotonic() + seconds
        while (
            text not in self.output
            and not self.over()
            and time.monotonic() < until
        ):
            select.select([self._reading], [], [], 0.05)
            self._read()
        return text in self.output

    def over(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self._read()
                os.close(self._reading)
        return self.status is not None

    def signal(self, number: int) -> None:
        if not self.over():
            os.kill(self.pid, number)

    def end(self, seconds: float = HANGS) -> int:
        """Waits for the end: the exit status, or the signal's number with a minus sign. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while not self.over():
            if time.monotonic() > until:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"no end after {seconds:.0f} s")
            select.select([self._reading], [], [], 0.05)
            self._read()
        return self.status

    def last_words(self) -> str:
        lines = [
            line
            for line in self.output.decode(errors="replace").splitlines()
            if line.strip()
        ]
        return lines[-1] if lines else "(nothing printed)"

    def _read(self) -> None:
        try:
            while part := os.read(self._reading, 2**16):
                self.output += part
        except BlockingIOError:
            return
        time.sleep(
            0.01
        )  # the other end is closed, and the process is about to be over


def in_fork(work: Callable[[], bytes]) -> bytes:
    """What the work gives, done by a fork, so that TensorFlow stays untouched in this process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with open(writing, "wb") as file:
                file.write(work())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        found = file.read()
    os.waitpid(pid, 0)
    return found


def _become(
    words: Sequence[str], folder: Path, arm: Callable[[], None], output: int
) -> None:
    """The fork's whole life; it leaves as the interpreter does, without the rest of this program."""
    status: int | None = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Those that were made for a file would look for a place in it.
        sys.stdout, sys.stderr = (
            open(1, "w", closefd=False),
            open(2, "w", buffering=1, closefd=False),
        )
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(folder)
        sys.path[0] = str(folder)
        arm()
        status = main(words)
    except SystemExit as left:
        status = left.code
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


class Operations:
    """Counts what the session does to files below a folder; the operation numbered `fatal` is never done."""

    def __init__(self, folder: Path, fatal: int = 0, told: str = ""):
        self._folder, self._fatal, self._told, self._count = (
            str(folder),
            fatal,
            told,
            0,
        )

    def arm(self) -> None:
        sys.addaudithook(self._audit)
        for name in ("fsync", "fdatasync"):
            self._guard(os, name)
        for name in NATIVE:
            self._guard(_pywrap_file_io, name)
        if self._told:
            atexit.register(
                lambda: Path(self._told).write_text(str(self._count))
            )

    def _audit(self, event: str, details: tuple) -> None:
        writes = (
            event == "open"
            and isinstance(details[2], int)
            and details[2] & WRITING
        )
        if (writes or event in CHANGES) and isinstance(
            details[0], (str, bytes, os.PathLike)
        ):
            if os.fsdecode(details[0]).startswith(self._folder):
                self._happens()

    def _guard(self, module, name: str) -> None:
        real = getattr(module, name)

        def counted(*given):
            self._happens()
            return real(*given)

        setattr(module, name, counted)

    def _happens(self) -> None:
        self._count += 1
        if self._count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def shift_clock(seconds: float) -> None:
    """This process's clock is off by so many seconds."""
    real = time.time
    time.time = lambda: real() + seconds


def die_at_byte(size: int) -> None:
    """The kernel kills the process while it writes past this size of any file, which keeps the bytes before it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _limit(size)


def full_at_byte(size: int) -> None:
    """No file grows past this size: writing fails there, as it does on a full disk."""
    _limit(size)


def _limit(size: int) -> None:
    resource.setrlimit(
        resource.RLIMIT_FSIZE,
        (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]),
    )
