"""Files that are there whole or not at all, also after a crash or a power cut."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAFT = ".draft."  # begins the name of a file that is not whole yet
_CALL = re.compile(r"\s*\[Op:\w+\]\s*$")


class CannotWrite(RuntimeError):
    """A file of a run cannot be written; one line that names it and says why."""


@contextmanager
def writing(path: str | os.PathLike, *kinds: type[Exception]) -> Iterator[None]:
    """What goes wrong inside is told as CannotWrite; TensorFlow's kinds of errors are to be named beside OSError."""
    try:
        yield
    except (OSError, *kinds) as error:
        why = getattr(error, "strerror", None) or _CALL.sub("", str(error)).rpartition("; ")[2]
        raise CannotWrite(f"{path} cannot be written: {why}") from error


def draft(path: Path) -> Path:
    """Where a file is written before it takes its place; the ending is the same."""
    return path.with_name(f"{DRAFT}{path.name}")


def settle(path: Path) -> None:
    """The draft of a file, or of a folder, takes its place; both it and its name are on the disk when this returns."""
    sync(draft(path))
    os.replace(draft(path), path)
    sync(path.parent)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """The draft of a file, which takes its place at the end of the block; where that fails the file stays as it was.

    Raises CannotWrite.
    """
    with writing(path):
        try:
            yield draft(path)
            settle(path)
        except BaseException:
            draft(path).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there with all of the text or as it was before."""
    content = text.encode()
    with replaced(Path(path)) as aside:
        aside.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
