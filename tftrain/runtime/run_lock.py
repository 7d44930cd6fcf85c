"""The lock of a run's folder, so that no two processes train in one."""

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
_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_TRIES = 5  # `lock_owner` holds the lock for a moment
_SECONDS_BETWEEN_TRIES = 0.1


class RunDirLocked(RuntimeError):
    """Another run has the folder; `holder` says which process."""

    def __init__(self, holder: str):
        super().__init__(f"{holder} has it")
        self.holder = holder


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Lock a folder until the end of the block, or of the process: the system releases it however that ends.

    Args:
        folder: that of a run, which exists.

    Raises:
        RunDirLocked: another process has it.
        OSError: the folder cannot be written to.
    """
    path = folder / LOCK
    descriptor = _acquire_lock(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        if _is_at(path, descriptor):
            path.unlink()
        os.close(descriptor)


def lock_owner(folder: Path) -> str | None:
    """Return which process has a folder, such as `process 1234`; None where none has."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | _FLAGS)
    except (
        OSError
    ):  # there is no lock, or no folder, or a link in the lock's place
        return None
    try:
        if not _is_regular(descriptor) or _try_lock(descriptor, shared=True):
            return None
        return _read_owner(descriptor)
    finally:
        os.close(descriptor)


def _acquire_lock(path: Path) -> int:
    """Return the descriptor of the lock's file, opened and locked."""
    owner = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_SECONDS_BETWEEN_TRIES)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
        if not _is_regular(descriptor):
            os.close(descriptor)
            raise OSError(errno.EINVAL, f"{LOCK} is no regular file")
        # A file that is no longer at the path was deleted meanwhile by the process that had the lock.
        if _try_lock(descriptor) and _is_at(path, descriptor):
            return descriptor
        owner = _read_owner(descriptor)
        os.close(descriptor)
    raise RunDirLocked(owner)


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _try_lock(descriptor: int, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # such as a network file system without locks
        warnings.warn(
            f"the run's folder cannot be locked ({error.strerror}): start no second run in it",
            stacklevel=4,
        )
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_owner(descriptor: int) -> str:
    number = os.pread(descriptor, 20, 0).decode(errors="replace")
    return f"process {number}" if number.isdigit() else "another process"
