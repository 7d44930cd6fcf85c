"""Files that are there whole or not at all, also after a crash or a power cut; no link leads a write elsewhere."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tftrain.runtime.terminal import one_line

DRAFT = ".draft."  # begins the name of a file that is not whole yet
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NAME_KEPT = 40  # characters of a file's name that its draft ends with, among them the ending
_CALL = re.compile(r"\s*\[Op:\w+\]\s*$")
_open_writes: set[object] = set()  # one entry for each write that lasts


class WriteError(RuntimeError):
    """A file of a run cannot be written; one line that names it and says why."""


@contextmanager
def raising_write_error(
    path: str | os.PathLike, *kinds: type[Exception]
) -> Iterator[None]:
    """What goes wrong inside is told as CannotWrite; TensorFlow's kinds of errors are to be named beside OSError."""
    entry = object()
    _open_writes.add(entry)
    try:
        yield
    except (OSError, *kinds) as error:
        why = (
            getattr(error, "strerror", None)
            or _CALL.sub("", str(error)).rpartition("; ")[2]
        )
        raise WriteError(
            one_line(f"{path} cannot be written: {why}")
        ) from error
    finally:
        _open_writes.discard(entry)


def is_writing() -> bool:
    """Return whether any thread is writing a file of a run, which a slow disk may hold up for long."""
    return bool(_open_writes)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """The draft of a file, which takes its place at the end of the block; where that fails the file stays as it was.

    Raises CannotWrite.
    """
    with raising_write_error(path):
        draft = draft_path(path)
        create(draft)
        try:
            yield draft
            commit(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def draft_path(path: Path) -> Path:
    """Return where to write a file or a folder before it takes its place: a name that nobody can foresee.

    The name ends as that of `path` does.
    """
    return path.with_name(
        f"{DRAFT}{os.urandom(8).hex()}.{path.name[-_NAME_KEPT:]}"
    )


def create(path: Path) -> None:
    """Make an empty file; raises FileExistsError where there is anything, also a link."""
    os.close(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW, 0o666)
    )


def commit(draft: Path, path: Path) -> None:
    """Put a draft in the place of a file or folder; both are on the disk when this returns.

    Args:
        draft: what was written.
        path: its place.
    """
    sync(draft)
    os.replace(draft, path)
    sync(path.parent)


def sweep_drafts(folder: Path) -> None:
    """Delete the drafts that a killed process left in a folder."""
    for draft in folder.glob(f"{DRAFT}*"):
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder within that of a run, where it is not there yet.

    Raises:
        OSError: there is something else in its place, such as a link that may lead anywhere.
    """
    if path.is_symlink():
        raise OSError(
            0,
            "a symbolic link is in its place, and in a run's folder none is followed",
        )
    path.mkdir(exist_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it has all of the text, or is as it was before.

    Args:
        path: of the file.
        text: its content, written as UTF-8.
    """
    content = text.encode()
    with atomic_path(Path(path)) as draft:
        draft.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
