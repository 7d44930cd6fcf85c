"""The folder of a run: the names of what lies in it, and whether a run can use it."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tftrain.runtime import untrusted
from tftrain.runtime.atomic_files import (
    DRAFT,
    WriteError,
    sweep_drafts,
    write_text,
)
from tftrain.runtime.names import join_names
from tftrain.runtime.run_lock import LOCK, RunDirLocked, hold_lock, lock_owner
from tftrain.runtime.terminal import one_line
from tftrain.runtime.untrusted import Unreadable

# What a run writes into its folder; whatever else lies there is the user's.
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
MODEL = "model.keras"
MODEL_WEIGHTS = "model.weights.h5"
PREPROCESS = "preprocess.npz"  # what the preprocessing learned
RESULTS = "results.json"
EVENTS = "events.out.tfevents."  # begins the names of event files
CHECKPOINTS = "checkpoints"
BEST = "best"  # a folder within that of the checkpoints
INCIDENTS = "incidents"
PICTURES = "pictures"
VALIDATION = "val"  # the event files of validation
PLUGINS = "plugins"  # the traces of TensorFlow's profiler
_FOLDERS = {CHECKPOINTS, INCIDENTS, PICTURES, VALIDATION, PLUGINS}
_FILES = {CONFIG, METRICS, MODEL, MODEL_WEIGHTS, PREPROCESS, RESULTS, LOCK}

SPLITS = ("train", "validation", "test")  # the tables of results.json

_PATTERN_CHARACTERS = set("*?[\\") - {os.sep}  # TensorFlow would expand them
_MAX_STEP_DIGITS = 18  # of a step, which is an int64
_MAX_NAME = 100  # characters of one component of a path
PROBE_BYTES = 2**16  # a disk with less room than this takes no run


class RunFolderError(ValueError):
    """The folder asked for cannot be this run's; the message says why and what to do instead.

    Args:
        message: one line.
        details: further lines, such as the changes of a config.
    """

    def __init__(self, message: object, details: Sequence[str] = ()):
        super().__init__("\n  ".join(map(one_line, (message, *details))))


def ensure_available(run_dir: Path | None, resume: bool) -> None:
    """Refuse a folder that `acquire` would refuse for what it contains; makes nothing.

    Args:
        run_dir: the folder asked for; None for a new one.
        resume: whether it is to hold a run.

    Raises:
        RunFolderError: the folder cannot be used.
    """
    if run_dir is None:
        if resume:
            raise RunFolderError(
                "--resume needs --run-dir DIR, the folder of the run to go on with"
            )
        return
    try:
        folder = untrusted.check_path(run_dir)
        _check_name(folder)
        _check_parent(folder)
        owner = lock_owner(folder)
        if owner is not None:
            raise _locked_error(folder, owner)
        if resume:
            refuse_foreign_entries(folder)
        _check_content(folder, resume)
    except Unreadable as error:
        raise RunFolderError(
            f"run folder {error}; give another --run-dir"
        ) from None
    except OSError as error:  # such as a name that is too long
        raise RunFolderError(
            f"run folder {folder}: {error.strerror}; give another --run-dir"
        ) from None


def _check_name(folder: Path) -> None:
    name = str(folder)
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise RunFolderError(
            f"run folder {folder}: its name is not UTF-8; give another --run-dir"
        )
    if _PATTERN_CHARACTERS.intersection(name):
        raise RunFolderError(
            f"run folder {folder}: TensorFlow takes *, ?, [ and \\ for patterns; give another --run-dir"
        )


def _check_parent(folder: Path) -> None:
    """Refuse a path that leads through a file or a broken link."""
    existing = [
        path for path in (folder, *folder.parents) if os.path.lexists(path)
    ]
    nearest = existing[0] if existing else folder
    if untrusted.is_folder(nearest):
        return
    is_broken_link = nearest.is_symlink() and not nearest.exists()
    what = "a link to nothing" if is_broken_link else "a file"
    raise RunFolderError(
        f"run folder {folder}: {nearest} is {what}; give another --run-dir"
    )


def _check_content(folder: Path, resume: bool) -> None:
    # A lock and drafts were left by a run that was killed before it had written anything else.
    names = untrusted.list_folder(folder)
    occupied = any(
        name != LOCK and not name.startswith(DRAFT) for name in names
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
    """Refuse a run's folder in which something that a run writes is a link, a named pipe, or a folder for a file.

    To follow them would read or write what is not part of the run.

    Raises:
        RunFolderError: there is such an entry.
    """
    try:
        for entry in _run_entries(folder):
            problem = _entry_problem(folder, entry)
            if problem:
                raise RunFolderError(
                    f"run folder {folder}: {entry.path} is {problem}"
                )
    except OSError as error:
        raise RunFolderError(
            f"run folder {folder}: {error.filename} cannot be read: {error.strerror}"
        ) from None


def _entry_problem(folder: Path, entry: os.DirEntry) -> str | None:
    is_folder = entry.is_dir(follow_symlinks=False)
    if not is_folder and not entry.is_file(follow_symlinks=False):
        what = "a symbolic link" if entry.is_symlink() else "no regular file"
        return f"{what}, which a run never makes"
    kind = "a folder" if is_folder else "a file"
    expected = _expected_kind(Path(entry.path).relative_to(folder).parts)
    if expected is None or kind == expected:
        return None
    return f"{kind}, where a run has {expected}"


def _run_entries(folder: Path) -> Iterator[os.DirEntry]:
    """Yield all that a run has written into its folder."""
    remaining = [folder] if folder.is_dir() else []
    while remaining:
        current = remaining.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if current == folder and not _is_written_by_run(entry.name):
                    continue
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    remaining.append(Path(entry.path))


def _is_written_by_run(name: str) -> bool:
    return (
        name in _FILES or name in _FOLDERS or name.startswith((DRAFT, EVENTS))
    )


def _expected_kind(parts: tuple[str, ...]) -> str | None:
    """Return what a run makes at this path within its folder; None where it may be a file or a folder."""
    if parts[-1].startswith(DRAFT):
        return None
    if len(parts) == 1:
        return "a folder" if parts[0] in _FOLDERS else "a file"
    if parts == (CHECKPOINTS, BEST):
        return "a folder"
    return "a file" if parts[0] == CHECKPOINTS else None


@contextmanager
def acquire(run_dir: Path | None, name: str, resume: bool) -> Iterator[Path]:
    """Make or take the folder of a run, which no other run gets until the end of the block.

    Args:
        run_dir: the folder; None makes a new one, `runs/NAME-YYYYmmdd-HHMMSS`.
        name: that of the config.
        resume: whether a folder that exists is continued with.

    Raises:
        RunFolderError: the folder is another run's, is no folder, or cannot be written to.
    """
    ensure_available(run_dir, resume)
    if run_dir is None:
        folder = _make_new_folder(f"{safe_name(name)}-{_time_stamp()}")
        created = [folder]
    else:
        folder = Path(run_dir)
        created = [
            path for path in (folder, *folder.parents) if not path.exists()
        ]
    with ExitStack() as resources:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            resources.enter_context(hold_lock(folder))
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(bytes(PROBE_BYTES))
        except OSError as error:
            resources.close()
            with suppress(OSError):
                for path in created:
                    path.rmdir()
            raise RunFolderError(
                f"run folder {folder}: cannot write there ({error.strerror})"
            ) from None
        except RunDirLocked as error:
            raise _locked_error(folder, error.holder) from None
        _check_content(
            folder, resume
        )  # another run may have come and gone since
        sweep_drafts(folder)  # of a run that was killed
        yield folder


def _locked_error(folder: Path, holder: str) -> RunFolderError:
    return RunFolderError(
        f"run folder {folder}: in use by {holder}; wait for its end, or give another --run-dir"
    )


def write_config(folder: Path, text: str) -> None:
    """Write the resolved config of a run.

    Args:
        folder: that of the run.
        text: YAML.

    Raises:
        RunFolderError: the file cannot be written.
    """
    try:
        write_text(folder / CONFIG, text)
    except WriteError as error:
        raise RunFolderError(f"run folder {folder}: {error}") from None


def check_run(folder: Path, *needed: str) -> None:
    """Refuse a folder that holds none of the files that a run has; the message names the runs within it.

    Args:
        folder: what is to be the folder of a run.
        *needed: names of files, of which one is enough.

    Raises:
        RunFolderError: none is there.
    """
    try:
        if not untrusted.is_folder(folder):
            raise RunFolderError(
                f"run folder {folder}: there is no such folder"
            )
        for name in needed:
            if untrusted.is_file(folder / name) or os.path.islink(
                folder / name
            ):
                return
    except Unreadable as error:
        raise RunFolderError(f"run folder {error}") from None
    runs = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))
    hint = f"; runs are within it: {join_names(runs)}" if runs else ""
    missing = " and ".join(f"no {name}" for name in needed)
    raise RunFolderError(
        f"run folder {folder}: holds {missing}, so it is no run{hint}"
    )


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder: its last component, or its path from where the folders differ.

    Raises:
        RunFolderError: a folder is given twice.
    """
    try:
        resolved = [untrusted.real_path(folder) for folder in folders]
    except Unreadable as error:
        raise RunFolderError(f"run folder {error}") from None
    if len(set(resolved)) < len(folders):
        raise RunFolderError("given the same run twice; expected each once")
    last = [Path(path).name for path in resolved]
    if len(set(last)) == len(last):
        return last
    shared = os.path.commonpath([os.path.dirname(path) for path in resolved])
    names = [os.path.relpath(path, shared) for path in resolved]
    if any(
        name.startswith(f"{parent}{os.sep}")
        for name in names
        for parent in names
    ):
        # The name of one would be a folder that holds another.
        return [name.replace(os.sep, "-") for name in names]
    return names


def make_sweep_folder(name: str) -> Path:
    """Make the folder of a sweep, `runs/NAME-sweep-YYYYmmdd-HHMMSS`, which no other has.

    Raises:
        RunFolderError: it cannot be made.
    """
    return _make_new_folder(f"{safe_name(name)}-sweep-{_time_stamp()}")


def is_step(name: str) -> bool:
    """Return whether a name is that of an incident's folder: the step in decimal digits."""
    return name.isascii() and name.isdecimal() and len(name) <= _MAX_STEP_DIGITS


def safe_name(name: str) -> str:
    """Return the name as one component of a path: letters, digits, dot, dash and underscore."""
    allowed = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return allowed[:_MAX_NAME].strip(".-") or "run"


def _time_stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def _make_new_folder(name: str) -> Path:
    """Make a folder in `runs` that no other run has, also when two start within the same second."""
    parent = Path("runs")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = parent / name
        number = 1
        while True:
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1
                folder = parent / f"{name}-{number}"
    except OSError as error:
        raise RunFolderError(
            f"cannot make {parent / name} ({error.strerror}); give --run-dir DIR"
        ) from None
