"""The folder of a run: where it is, and what lies in it."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tftrain.runtime import untrusted
from tftrain.runtime.atomic_files import DRAFT, WriteError, sweep_drafts, write_text
from tftrain.runtime.names import listed
from tftrain.runtime.terminal import one_line
from tftrain.runtime.untrusted import Unreadable

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
MODEL = "model.keras"
MODEL_WEIGHTS = "model.weights.h5"
PREPROCESS = "preprocess.npz"  # what the preprocessing learned
RESULTS = "results.json"
INCIDENTS = "incidents"
LOCK = ".lock"
PICTURES = "pictures"
VALIDATION = "val"  # the events of validation
PLUGINS = "plugins"  # the traces of TensorFlow's profiler
PATTERN = set("*?[\\") - {os.sep}
_MOST_DIGITS = 19  # of a step, which is an int64
PROBE_BYTES = 2**16  # a disk with less room than this takes no run


# What a run writes into its folder; whatever else lies there is the user's.
FOLDERS = {CHECKPOINTS, INCIDENTS, PICTURES, VALIDATION, PLUGINS}
OURS = {CONFIG, METRICS, MODEL, MODEL_WEIGHTS, PREPROCESS, RESULTS, LOCK, *FOLDERS}
BEST = "best"  # within the checkpoints
EVENTS = "events.out.tfevents."
SPLITS = ("train", "validation", "test")


class RunFolderError(ValueError):
    """The folder asked for cannot be this run's; says why and what to do instead, then a line for each detail."""

    def __init__(self, message: object, details: Sequence[str] = ()):
        super().__init__("\n  ".join(map(one_line, (message, *details))))


def ensure_available(run_dir: Path | None, resume: bool) -> None:
    """Raises RunFolderError where `claim` would refuse the folder for what is in it; makes nothing."""
    if run_dir is None:
        if resume:
            raise RunFolderError(
                "--resume needs --run-dir DIR, the folder of the run to go on with"
            )
        return
    try:
        folder = untrusted.check_path(run_dir)
    except Unreadable as error:
        raise RunFolderError(f"run folder {error}; give another --run-dir") from None
    if any("\ud800" <= char <= "\udfff" for char in str(folder)):
        raise RunFolderError(
            f"run folder {folder}: its name is not UTF-8; give another --run-dir"
        )
    if PATTERN.intersection(str(folder)):
        raise RunFolderError(
            f"run folder {folder}: TensorFlow takes *, ?, [ and \\ for patterns; give another --run-dir"
        )
    try:
        there = next(
            (path for path in (folder, *folder.parents) if os.path.lexists(path)),
            folder,
        )
        if not untrusted.is_folder(there):
            what = (
                "a link to nothing"
                if there.is_symlink() and not there.exists()
                else "a file"
            )
            raise RunFolderError(
                f"run folder {folder}: {there} is {what}; give another --run-dir"
            )
        other = lock_owner(folder)
        if other is not None:
            raise _in_use(folder, other)
        if resume:
            refuse_foreign_entries(folder)
        _check_content(folder, resume)
    except Unreadable as error:
        raise RunFolderError(f"run folder {error}; give another --run-dir") from None
    except (
        OSError
    ) as error:  # such as a name that is too long, or a folder that may not be read
        raise RunFolderError(
            f"run folder {folder}: {error.strerror}; give another --run-dir"
        ) from None


def _check_content(folder: Path, resume: bool) -> None:
    # A lock and drafts were left by a run that was killed before it had written anything else.
    occupied = any(
        name != LOCK and not name.startswith(DRAFT)
        for name in untrusted.list_folder(folder)
    )
    if occupied and not resume:
        raise RunFolderError(
            f"run folder {folder}: not empty; give another --run-dir, or --resume to go on with it"
        )
    if occupied and not (folder / CONFIG).is_file():
        raise RunFolderError(
            f"run folder {folder}: not empty and holds no {CONFIG}, so it is no run to resume"
        )


def refuse_foreign_entries(folder: Path) -> None:
    """Raise RunFolderError where something that a run writes is a link, a named pipe, or a folder in a file's place.

    Who follows them reads or writes what is no part of the run.
    """
    try:
        for entry in _entries(folder):
            if not entry.is_file(follow_symlinks=False) and not entry.is_dir(
                follow_symlinks=False
            ):
                what = "a symbolic link" if entry.is_symlink() else "no regular file"
                raise RunFolderError(
                    f"run folder {folder}: {entry.path} is {what}, which a run never makes"
                )
            expected = _kind_of(Path(entry.path).relative_to(folder).parts)
            kind = "a folder" if entry.is_dir(follow_symlinks=False) else "a file"
            if expected is not None and kind != expected:
                raise RunFolderError(
                    f"run folder {folder}: {entry.path} is {kind}, where a run has {expected}"
                )
    except OSError as error:
        raise RunFolderError(
            f"run folder {folder}: {error.filename} cannot be read: {error.strerror}"
        ) from None


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    """All that a run has written into its folder."""
    remaining = [folder] if folder.is_dir() else []
    while remaining:
        current = remaining.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if current != folder or _is_ours(entry.name):
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        remaining.append(Path(entry.path))


def _kind_of(parts: tuple[str, ...]) -> str | None:
    """What a run makes of this path within its folder; None where that may be a file or a folder."""
    if parts[-1].startswith(DRAFT):
        return None
    if len(parts) == 1:
        return "a folder" if parts[0] in FOLDERS else "a file"
    if parts[0] == CHECKPOINTS and parts[1] == BEST and len(parts) == 2:
        return "a folder"
    return "a file" if parts[0] == CHECKPOINTS else None


def _is_ours(name: str) -> bool:
    return name in OURS or name.startswith((DRAFT, EVENTS))


@contextmanager
def acquire(run_dir: Path | None, name: str, resume: bool) -> Iterator[Path]:
    """Makes or takes the folder of a run, which is this run's alone until the end of the block.

    Without `run_dir` a new folder `runs/NAME-YYYYmmdd-HHMMSS` is made. With `resume` a folder that is there is gone on
    with. Raises RunFolderError where the folder is another run's, is no folder, or cannot be written to.
    """
    ensure_available(run_dir, resume)
    fresh = f"{safe_name(name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = _new_folder(Path("runs"), fresh) if run_dir is None else Path(run_dir)
    made = (
        [folder]
        if run_dir is None
        else [path for path in (folder, *folder.parents) if not path.exists()]
    )
    with ExitStack() as owned:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            owned.enter_context(locked(folder))
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(bytes(PROBE_BYTES))
        except OSError as error:
            owned.close()
            with suppress(OSError):
                for path in made:
                    path.rmdir()
            raise RunFolderError(
                f"run folder {folder}: cannot write there ({error.strerror})"
            ) from None
        except RunDirLocked as held:
            raise _in_use(folder, held.holder) from None
        _check_content(folder, resume)  # another run may have come and gone since
        sweep_drafts(folder)  # of a run that was killed
        yield folder


def _in_use(folder: Path, holder: str) -> RunFolderError:
    return RunFolderError(
        f"run folder {folder}: in use by {holder}; wait for its end, or give another --run-dir"
    )


def write_config(folder: Path, text: str) -> None:
    """Writes the resolved config of a run. Raises RunFolderError where that cannot be written."""
    try:
        write_text(folder / CONFIG, text)
    except WriteError as error:
        raise RunFolderError(f"run folder {folder}: {error}") from None


def check_run(folder: Path, *needed: str) -> None:
    """Raise RunFolderError where a folder holds none of the files that a run has; names the runs within it."""
    try:
        if not untrusted.is_folder(folder):
            raise RunFolderError(f"run folder {folder}: there is no such folder")
        if any(
            untrusted.is_file(folder / name) or os.path.islink(folder / name)
            for name in needed
        ):
            return
    except Unreadable as error:
        raise RunFolderError(f"run folder {error}") from None
    inside = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))
    hint = f"; runs are within it: {listed(inside)}" if inside else ""
    lacking = " and ".join(f"no {name}" for name in needed)
    raise RunFolderError(f"run folder {folder}: holds {lacking}, so it is no run{hint}")


def read_results(folder: Path) -> dict[str, Any]:
    """What a run came to, as it wrote it at its end: nothing before; raises Unreadable where the file is damaged."""
    path = folder / RESULTS
    if not os.path.lexists(path):
        return {}
    found = untrusted.read_json(path, within=folder)
    if not isinstance(found, dict) or not _is_whole(found):
        raise Unreadable(path, "is not what a run writes")
    return found


def _is_whole(found: dict[str, Any]) -> bool:
    """Whether all that a reader counts upon is there, and of the kind that a run writes."""
    tables = [found.get(name, {}) for name in (*SPLITS, "time")]
    if not all(isinstance(table, dict) for table in tables):
        return False
    counts = [
        found.get("steps"),
        *(found.get(name, 0) for name in ("skipped", "rewinds")),
    ]
    numbers = [
        found.get("seconds", 0),
        *(value for table in tables for value in table.values()),
    ]
    return (
        all(isinstance(count, int) and 0 <= count < 2**63 for count in counts)
        and all(
            isinstance(number, float) or isinstance(number, int) and abs(number) < 2**63
            for number in numbers
        )
        and isinstance(found.get("stopped"), (str, type(None)))
    )


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders by their last name, or from where they differ on; raises RunFolderError where one is given twice."""
    try:
        resolved = [untrusted.real_path(folder) for folder in folders]
    except Unreadable as error:
        raise RunFolderError(f"run folder {error}") from None
    if len(set(resolved)) < len(folders):
        raise RunFolderError("given the same run twice; expected each once")
    last = [Path(one).name for one in resolved]
    if len(set(last)) == len(last):
        return last
    shared = os.path.commonpath([os.path.dirname(one) for one in resolved])
    names = [os.path.relpath(one, shared) for one in resolved]
    nested = any(one.startswith(f"{other}{os.sep}") for one in names for other in names)
    return (
        [one.replace(os.sep, "-") for one in names] if nested else names
    )  # a name is no folder that holds another


def new_parent(name: str) -> Path:
    """Makes the folder of a sweep, `runs/NAME-sweep-YYYYmmdd-HHMMSS`, which nobody else has."""
    return _new_folder(
        Path("runs"), f"{safe_name(name)}-sweep-{time.strftime('%Y%m%d-%H%M%S')}"
    )


def is_step(name: str) -> bool:
    """Return whether a name is that of an incident's folder: the step in decimal digits."""
    return name.isascii() and name.isdecimal() and len(name) < _MOST_DIGITS


def safe_name(name: str) -> str:
    """Returns the name as one component of a path: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100].strip(".-") or "run"


def _new_folder(parent: Path, name: str) -> Path:
    """Makes a folder nobody else has, also when two runs start within the same second."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1
    except OSError as error:
        raise RunFolderError(
            f"cannot make {parent / name} ({error.strerror}); give --run-dir DIR"
        ) from None


try:
    import fcntl
except ImportError:  # Windows has none, and there nothing is locked
    fcntl = None

# Neither a link nor a named pipe in the lock's place leads elsewhere or keeps a process waiting.
_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_TRIES = 5  # a tenth of a second apart: who only looks has the lock for a moment


class RunDirLocked(RuntimeError):
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


def lock_owner(folder: Path) -> str | None:
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
        if _lock(descriptor) and _is_at(
            path, descriptor
        ):  # else who had it has deleted it meanwhile
            return descriptor
        found = _named(descriptor)
        os.close(descriptor)
    raise RunDirLocked(found)


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _lock(descriptor: int, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(
            descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        )
    except BlockingIOError:
        return False
    except OSError as error:  # such as a file system of a network that has no locks
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


def _named(descriptor: int) -> str:
    number = os.pread(descriptor, 20, 0).decode(errors="replace")
    return f"process {number}" if number.isdigit() else "another process"
