"""Reads files that others wrote, such as those of a run from elsewhere.

Whatever is at a path, reading it ends: only regular files are opened, so many bytes are read and no more, and of a
run's folder no link is followed. All that goes wrong is one exception, whose message is one line with the path.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tftrain.runtime.terminal import one_line

MAX_TEXT_BYTES = 2**24
MAX_LINE_BYTES = 2**26
_OPEN = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_ABSENT = (FileNotFoundError, NotADirectoryError)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}


class Unreadable(ValueError):
    """A file or a folder cannot be read; one line that names it and says why. `why` is without the name."""

    def __init__(self, path: str | os.PathLike, why: str):
        self.why = one_line(why)
        super().__init__(one_line(f"{os.fspath(path)} {self.why}"))


def check_path(path: str | os.PathLike) -> Path:
    """Return the path; raises Unreadable where it can name nothing: an empty one, a NUL, half of a character."""
    text = os.fspath(path)
    if not text:
        raise Unreadable("''", "is no path, for it is empty")
    if "\0" in text:
        raise Unreadable(text, "is no path, for it holds the character NUL")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise Unreadable(
            text,
            "is no path, for it holds half of a character (a lone surrogate)",
        ) from None
    return Path(path)


def is_file(path: str | os.PathLike) -> bool:
    """Return whether there is something other than a folder at a path; raises Unreadable where that is not known."""
    mode = _mode_of(path)
    return mode is not None and not stat.S_ISDIR(mode)


def is_folder(path: str | os.PathLike) -> bool:
    """Return whether a path leads to a folder; raises Unreadable where that is not known, as of a loop of links."""
    mode = _mode_of(path)
    return mode is not None and stat.S_ISDIR(mode)


def exists(path: str | os.PathLike) -> bool:
    """Return whether a path leads to anything; raises Unreadable where that is not known."""
    return _mode_of(path) is not None


def list_folder(
    folder: str | os.PathLike, root: Path | None = None
) -> list[str]:
    """Return the sorted names in a folder, none where there is no such folder; raises Unreadable.

    Args:
        folder: which.
        root: the folder of a run, in which no link is followed.
    """
    check_path(folder)
    refuse_links(folder, root)
    try:
        return sorted(os.listdir(folder))
    except _ABSENT:
        return []
    except OSError as error:
        raise Unreadable(folder, f"cannot be read: {error.strerror}") from None


def real_path(path: str | os.PathLike) -> str:
    """Return where a path leads in the end; raises Unreadable for a loop of links."""
    try:
        return str(check_path(path).resolve())
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        raise Unreadable(path, f"cannot be read: {why}") from None


def refuse_links(path: str | os.PathLike, root: Path | None) -> None:
    """Raise Unreadable where a part of the path beneath the folder `root` is a link; the folder itself may be one.

    Args:
        path: of a file or folder.
        root: the folder of a run.
    """
    if root is None:
        return
    part = Path(root)
    for name in Path(path).relative_to(part).parts:
        part = part / name
        if part.is_symlink():
            raise Unreadable(
                part,
                "is a symbolic link, and in a run's folder none is followed",
            )


def open_file(path: str | os.PathLike, root: Path | None = None) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: the file.
        root: the folder of a run, in which no link is followed.

    Raises:
        Unreadable: it is not there, may not be read, or is no regular file.
    """
    check_path(path)
    refuse_links(path, root)
    try:
        descriptor = os.open(path, _OPEN | (_NOFOLLOW if root else 0))
    except OSError as error:
        raise Unreadable(
            path, f"cannot be read: {_reason_of(error, path)}"
        ) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise Unreadable(
            path,
            f"is {_KINDS.get(stat.S_IFMT(mode), 'no regular file')}; expected a file",
        )
    return os.fdopen(descriptor, "rb")


def read_bytes(
    path: str | os.PathLike,
    root: Path | None = None,
    limit: int = MAX_TEXT_BYTES,
) -> bytes:
    """Return all of a file; raises Unreadable, also where it has more than `limit` bytes.

    Args:
        path: of the file.
        root: the folder of a run, in which no link is followed.
        limit: bytes.
    """
    with open_file(path, root) as file:
        content = _read_from(file, path, limit + 1)
    if len(content) > limit:
        raise Unreadable(
            path,
            f"has more than {limit} bytes, the most that is read of such a file",
        )
    return content


def read_text(
    path: str | os.PathLike,
    root: Path | None = None,
    limit: int = MAX_TEXT_BYTES,
) -> str:
    """Return all of a text; bytes that are not UTF-8 become a replacement character. Raises Unreadable.

    Args:
        path: of the file.
        root: the folder of a run, in which no link is followed.
        limit: bytes.
    """
    return read_bytes(path, root, limit).decode("utf-8-sig", errors="replace")


def read_lines(
    path: str | os.PathLike,
    root: Path | None = None,
    limit: int = MAX_LINE_BYTES,
) -> Iterator[bytes]:
    """Yield the lines of a file, each with its end; raises Unreadable where one has more than `limit` bytes.

    Args:
        path: of the file.
        root: the folder of a run, in which no link is followed.
        limit: bytes of a line.
    """
    with open_file(path, root) as file:
        number = 0
        while line := _read_from(file, path, limit + 1, file.readline):
            number += 1
            if len(line) > limit:
                raise Unreadable(
                    path,
                    f"has a line, number {number}, of more than {limit} bytes",
                )
            yield line


def parse_json(text: str | bytes, path: str | os.PathLike) -> Any:
    """Return the value of a JSON text; raises Unreadable with the path that it is from.

    Args:
        text: JSON.
        path: that it is from, for messages.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise Unreadable(path, "is nested too deeply") from None
    except UnicodeDecodeError:
        raise Unreadable(path, "is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unreadable(path, f"is not JSON: {error}") from None
    except ValueError:
        raise Unreadable(path, "holds a number of too many digits") from None


def read_json(path: str | os.PathLike, root: Path | None = None) -> Any:
    """Return the value that a JSON file holds; raises Unreadable.

    Args:
        path: of the file.
        root: the folder of a run, in which no link is followed.
    """
    return parse_json(read_bytes(path, root), path)


def _read_from(
    file: io.BufferedIOBase,
    path: str | os.PathLike,
    size: int,
    method: Any = None,
) -> bytes:
    try:
        return (method or file.read)(size)
    except OSError as error:
        raise Unreadable(path, f"cannot be read: {error.strerror}") from None


def _mode_of(path: str | os.PathLike) -> int | None:
    """The kind of what a path leads to; None where there is nothing."""
    try:
        return os.stat(check_path(path)).st_mode
    except _ABSENT:
        return None
    except OSError as error:
        raise Unreadable(
            path, f"cannot be read: {_reason_of(error, path)}"
        ) from None


def _reason_of(error: OSError, path: str | os.PathLike) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return f"it is a link to {os.readlink(path)}, which is not there"
    return error.strerror or str(error)
