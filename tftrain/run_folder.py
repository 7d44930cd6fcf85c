"""The folder of a run: where it is, and what lies in it."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tftrain.durable import DRAFT, CannotWrite, write_text
from tftrain.lock import LOCK, Held, holder, locked

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
MODEL = "model.keras"
RESULTS = "results.json"
INCIDENTS = "incidents"
PICTURES = "pictures"
PATTERN = set("*?[\\") - {os.sep}
PROBE_BYTES = 2**16  # a disk with less room than this takes no run


class RunFolderError(ValueError):
    """The folder asked for cannot be this run's; says why and what to do instead."""


def check(run_dir: Path | None, resume: bool) -> None:
    """Raises RunFolderError where `claim` would refuse the folder for what is in it; makes nothing."""
    if run_dir is None:
        if resume:
            raise RunFolderError("--resume needs --run-dir DIR, the folder of the run to go on with")
        return
    folder = Path(run_dir)
    if PATTERN.intersection(str(folder)):
        raise RunFolderError(
            f"run folder {folder}: TensorFlow takes *, ?, [ and \\ for patterns; give another --run-dir"
        )
    try:
        there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        if not there.is_dir():
            raise RunFolderError(f"run folder {folder}: {there} is a file; give another --run-dir")
        other = holder(folder)
        if other is not None:
            raise _in_use(folder, other)
        _check_content(folder, resume)
    except OSError as error:  # such as a name that is too long, or a folder that may not be read
        raise RunFolderError(f"run folder {folder}: {error.strerror}; give another --run-dir") from None


def _check_content(folder: Path, resume: bool) -> None:
    ours = LOCK, f"{DRAFT}{CONFIG}"  # left by a run that was killed before it had written anything else
    occupied = folder.exists() and any(path.name not in ours for path in folder.iterdir())
    if occupied and not resume:
        raise RunFolderError(f"run folder {folder}: not empty; give another --run-dir, or --resume to go on with it")
    if occupied and not (folder / CONFIG).is_file():
        raise RunFolderError(f"run folder {folder}: not empty and holds no {CONFIG}, so it is no run to resume")


@contextmanager
def claim(run_dir: Path | None, name: str, resume: bool) -> Iterator[Path]:
    """Makes or takes the folder of a run, which is this run's alone until the end of the block.

    Without `run_dir` a new folder `runs/NAME-YYYYmmdd-HHMMSS` is made. With `resume` a folder that is there is gone on
    with. Raises RunFolderError where the folder is another run's, is no folder, or cannot be written to.
    """
    check(run_dir, resume)
    fresh = f"{safe_name(name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = _new_folder(Path("runs"), fresh) if run_dir is None else Path(run_dir)
    made = [folder] if run_dir is None else [path for path in (folder, *folder.parents) if not path.exists()]
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
            raise RunFolderError(f"run folder {folder}: cannot write there ({error.strerror})") from None
        except Held as held:
            raise _in_use(folder, held.holder) from None
        _check_content(folder, resume)  # another run may have come and gone since
        for left in folder.glob(f"{DRAFT}*"):  # by a run that was killed
            left.unlink()
        yield folder


def _in_use(folder: Path, holder: str) -> RunFolderError:
    return RunFolderError(f"run folder {folder}: in use by {holder}; wait for its end, or give another --run-dir")


def write_config(folder: Path, text: str) -> None:
    """Writes the resolved config of a run. Raises RunFolderError where that cannot be written."""
    try:
        write_text(folder / CONFIG, text)
    except CannotWrite as error:
        raise RunFolderError(f"run folder {folder}: {error}") from None


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders by their last name, or from where they differ on; raises RunFolderError where one is given twice."""
    resolved = [str(folder.resolve()) for folder in folders]
    if len(set(resolved)) < len(folders):
        raise RunFolderError("given the same run twice; expected each once")
    last = [Path(one).name for one in resolved]
    if len(set(last)) == len(last):
        return last
    shared = os.path.commonpath([os.path.dirname(one) for one in resolved])
    names = [os.path.relpath(one, shared) for one in resolved]
    nested = any(one.startswith(f"{other}{os.sep}") for one in names for other in names)
    return [one.replace(os.sep, "-") for one in names] if nested else names  # a name is no folder that holds another


def new_parent(name: str) -> Path:
    """Makes the folder of a sweep, `runs/NAME-sweep-YYYYmmdd-HHMMSS`, which nobody else has."""
    return _new_folder(Path("runs"), f"{safe_name(name)}-sweep-{time.strftime('%Y%m%d-%H%M%S')}")


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
        raise RunFolderError(f"cannot make {parent / name} ({error.strerror}); give --run-dir DIR") from None
