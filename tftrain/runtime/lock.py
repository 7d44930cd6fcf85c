"""A folder that one process at a time has."""

from __future__ import annotations

import errno
import os
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none, and there nothing is locked
    fcntl = None

LOCK = ".lock"
# Neither a link nor a named pipe in the lock's place leads elsewhere or keeps a process waiting.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_TRIES = 5  # a tenth of a second apart: who only looks has the lock for a moment


class Held(RuntimeError):
    """Another run has the folder; `holder` says which process."""

    def __init__(self, holder: str):
        super().__init__(f"{holder} has it")
        self.holder = holder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder until the end of the block, or of the process: the system takes the lock back however it ends.

    Raises:
        Held: another has it.
        OSError: the folder cannot be written to.
    """
    path = folder / LOCK
    descriptor = _take(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        if _is_at(path, descriptor):
            path.unlink()
        os.close(descriptor)


def holder(folder: Path) -> str | None:
    """Which process has a folder, such as `process 1234`; None where nobody has."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | _FLAGS)
    except OSError:  # there is no lock, or no folder, or a link in the lock's place
        return None
    try:
        if not _is_regular(descriptor):
            return None
        return None if _lock(descriptor, shared=True) else _named(descriptor)
    finally:
        os.close(descriptor)


def _take(path: Path) -> int:
    """The lock's file, opened and locked."""
    for attempt in range(_TRIES):
        time.sleep(0.1 if attempt else 0)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
        if not _is_regular(descriptor):
            os.close(descriptor)
            raise OSError(errno.EINVAL, f"{LOCK} is no regular file")
        if _lock(descriptor) and _is_at(path, descriptor):  # else who had it has deleted it meanwhile
            return descriptor
        found = _named(descriptor)
        os.close(descriptor)
    raise Held(found)


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _lock(descriptor: int, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # such as a file system of a network that has no locks
        warnings.warn(f"the run's folder cannot be locked ({error.strerror}): start no second run in it", stacklevel=4)
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _named(descriptor: int) -> str:
    number = os.pread(descriptor, 20, 0).decode(errors="replace")
    return f"process {number}" if number.isdigit() else "another process"
