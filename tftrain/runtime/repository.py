"""The commit of the git repository that a folder is in, read from its files.

git itself is not asked: whatever command it is given, it may run programs that the repository's configuration names,
such as a file system monitor, or a filter of the files that it compares.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tftrain.runtime.untrusted import Unreadable, read_bytes, read_text

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_POINTER_BYTES = 2**12  # of a file that holds a name or a hash
_MAX_LINKS = 5  # from one reference to another
_MAX_COMPARED_BYTES = (
    2**26
)  # of files whose times alone tell that they may have changed
_ENTRY = struct.Struct(
    ">4x4x II 4x4x I 4x4x I"
)  # of the index: seconds, nanoseconds, mode, size
_EXTENDED, _SKIPPED = 0x4000, 0x4000  # flags of an entry, and of the word after them
_MODULE, _LINK = 0o160000, 0o120000


class Entry(NamedTuple):
    """A file that git follows, as it last saw it."""

    path: bytes
    seconds: int
    nanoseconds: int
    mode: int
    size: int
    hash: bytes


def find_commit(folder: Path) -> str | None:
    """The commit that is checked out where a folder is, as 40 or 64 digits; None outside of repositories.

    A repository that cannot be read, or that keeps its references in a way not known here, gives None too.
    """
    found = _find_repository(folder)
    return None if found is None else _head(found[1])


def has_changes(folder: Path) -> bool:
    """Whether a file that git follows is not as git last saw it: other, or gone. False where that is not known."""
    found = _find_repository(folder)
    if found is None:
        return False
    root, git = found
    try:
        content = read_bytes(git / "index")
        return _differs(
            os.fsencode(root),
            list(_entries(content, 20 if len(_head(git) or "") == 40 else 32)),
        )
    except (Unreadable, OSError, ValueError, struct.error):
        return False


def _find_repository(folder: Path) -> tuple[Path, Path] | None:
    """The top folder of the working tree, and the folder with its `HEAD` and index."""
    try:
        folder = Path(os.path.abspath(folder))
        for root in (folder, *folder.parents):
            git = root / ".git"
            if git.is_dir():
                return root, git
            if git.is_file():  # of a worktree, or a submodule
                kind, _, target = _pointer(git).partition(": ")
                return (root, root / target) if kind == "gitdir" else None
    except (
        Unreadable,
        OSError,
        ValueError,
    ):  # such as a working directory that was deleted
        return None
    return None


def _head(git: Path) -> str | None:
    try:
        content = _pointer(git / "HEAD")
        for _ in range(_MAX_LINKS):
            if _COMMIT.fullmatch(content):
                return content
            kind, _, name = content.partition(": ")
            if kind != "ref" or not name.startswith("refs/") or ".." in name:
                return None
            content = _reference(git, name)
    except (Unreadable, OSError, ValueError):
        pass
    return None


def _reference(git: Path, name: str) -> str:
    """What a reference holds: a hash, or another reference; empty where it is nowhere."""
    shared = git
    if (git / "commondir").is_file():
        shared = git / _pointer(git / "commondir")
    for folder in (git, shared):
        if (folder / name).is_file():
            return _pointer(folder / name)
    packed = re.search(
        rf"^([0-9a-f]+) {re.escape(name)}$",
        read_text(shared / "packed-refs"),
        re.MULTILINE,
    )
    return packed[1] if packed else ""


def _pointer(path: Path) -> str:
    return read_text(path, limit=_MAX_POINTER_BYTES).strip()


def _entries(content: bytes, hash_bytes: int) -> Iterator[Entry]:
    """The entries of an index; raises ValueError or struct.error where it is of a version that is not known here."""
    kind, version, count = struct.unpack_from(">4sII", content)
    if kind != b"DIRC" or version not in (2, 3):
        raise ValueError(f"an index of version {version}")
    start = 12
    for _ in range(count):
        seconds, nanoseconds, mode, size = _ENTRY.unpack_from(content, start)
        position = start + _ENTRY.size + hash_bytes
        (flags,) = struct.unpack_from(">H", content, position)
        position += 2
        is_skipped = False
        if flags & _EXTENDED:
            (more,) = struct.unpack_from(">H", content, position)
            is_skipped = bool(more & _SKIPPED)
            position += 2
        end = content.index(b"\0", position)
        if not is_skipped and mode & 0o170000 != _MODULE:
            digest = content[start + _ENTRY.size : start + _ENTRY.size + hash_bytes]
            yield Entry(content[position:end], seconds, nanoseconds, mode, size, digest)
        start += (end - start) // 8 * 8 + 8  # filled up with NUL, at least one


def _differs(root: bytes, entries: list[Entry]) -> bool:
    """Whether the working tree differs; files whose time alone is another are compared, up to a number of bytes."""
    touched = []
    for entry in entries:
        try:
            status = os.lstat(os.path.join(root, entry.path))
        except (FileNotFoundError, NotADirectoryError):
            return True
        is_link = entry.mode & 0o170000 == _LINK
        if (
            stat.S_ISLNK(status.st_mode) != is_link
            or status.st_size & 0xFFFFFFFF != entry.size
        ):
            return True
        if divmod(status.st_mtime_ns, 10**9) != (entry.seconds, entry.nanoseconds):
            touched.append(entry)
    if sum(entry.size for entry in touched) > _MAX_COMPARED_BYTES:
        return False
    return any(_hash(root, entry) != entry.hash for entry in touched)


def _hash(root: bytes, entry: Entry) -> bytes:
    path = os.path.join(root, entry.path)
    if entry.mode & 0o170000 == _LINK:
        content = os.readlink(path)
    else:
        content = read_bytes(os.fsdecode(path), limit=entry.size)
    digest = hashlib.sha1 if len(entry.hash) == 20 else hashlib.sha256
    return digest(b"blob %d\0" % len(content) + content).digest()
