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
_EXTENDED, _SKIPPED = (
    0x4000,
    0x4000,
)  # flags of an entry, and of the word after them
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
    """Return the commit that is checked out where a folder is, as 40 or 64 digits; None outside of repositories.

    A repository that cannot be read, or that keeps its references in a way not known here, gives None too.
    """
    repository = _find_repository(folder)
    if repository is None:
        return None
    _, git_folder = repository
    return _read_head(git_folder)


def has_changes(folder: Path) -> bool:
    """Return whether a file that git tracks has changed or is gone since git last saw it; false where not known."""
    repository = _find_repository(folder)
    if repository is None:
        return False
    root, git_folder = repository
    try:
        content = read_bytes(git_folder / "index")
        commit = _read_head(git_folder) or ""
        hash_bytes = 20 if len(commit) == 40 else 32
        entries = list(_parse_index(content, hash_bytes))
        return _differs_from_index(os.fsencode(root), entries)
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
                kind, _, target = _read_pointer(git).partition(": ")
                return (root, root / target) if kind == "gitdir" else None
    except (Unreadable, OSError, ValueError):
        return None  # such as a working directory that was deleted
    return None


def _read_head(git: Path) -> str | None:
    try:
        content = _read_pointer(git / "HEAD")
        for _ in range(_MAX_LINKS):
            if _COMMIT.fullmatch(content):
                return content
            kind, _, name = content.partition(": ")
            if kind != "ref" or not name.startswith("refs/") or ".." in name:
                return None
            content = _read_reference(git, name)
    except (Unreadable, OSError, ValueError):
        pass
    return None


def _read_reference(git: Path, name: str) -> str:
    """Return what a reference holds: a hash, or another reference; empty where there is none."""
    shared = git
    if (git / "commondir").is_file():
        shared = git / _read_pointer(git / "commondir")
    for folder in (git, shared):
        if (folder / name).is_file():
            return _read_pointer(folder / name)
    line = rf"^([0-9a-f]+) {re.escape(name)}$"
    packed = re.search(line, read_text(shared / "packed-refs"), re.MULTILINE)
    return packed[1] if packed else ""


def _read_pointer(path: Path) -> str:
    return read_text(path, limit=_MAX_POINTER_BYTES).strip()


def _parse_index(content: bytes, hash_bytes: int) -> Iterator[Entry]:
    """Yield the entries of an index.

    Raises:
        ValueError, struct.error: it is damaged, or of an unknown version.
    """
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
            (extended_flags,) = struct.unpack_from(">H", content, position)
            is_skipped = bool(extended_flags & _SKIPPED)
            position += 2
        end = content.index(b"\0", position)
        if not is_skipped and mode & 0o170000 != _MODULE:
            digest = content[
                start + _ENTRY.size : start + _ENTRY.size + hash_bytes
            ]
            yield Entry(
                content[position:end], seconds, nanoseconds, mode, size, digest
            )
        start += (end - start) // 8 * 8 + 8  # filled up with NUL, at least one


def _differs_from_index(root: bytes, entries: list[Entry]) -> bool:
    """Whether the working tree differs; files whose time alone is another are compared, up to a number of bytes."""
    touched = []
    for entry in entries:
        try:
            status = os.lstat(os.path.join(root, entry.path))
        except (FileNotFoundError, NotADirectoryError):
            return True
        is_link = entry.mode & 0o170000 == _LINK
        if stat.S_ISLNK(status.st_mode) != is_link:
            return True
        if status.st_size & 0xFFFFFFFF != entry.size:
            return True
        if divmod(status.st_mtime_ns, 10**9) != (
            entry.seconds,
            entry.nanoseconds,
        ):
            touched.append(entry)
    if sum(entry.size for entry in touched) > _MAX_COMPARED_BYTES:
        return False
    return any(_hash_file(root, entry) != entry.hash for entry in touched)


def _hash_file(root: bytes, entry: Entry) -> bytes:
    path = os.path.join(root, entry.path)
    if entry.mode & 0o170000 == _LINK:
        content = os.readlink(path)
    else:
        content = read_bytes(os.fsdecode(path), limit=entry.size)
    digest = hashlib.sha1 if len(entry.hash) == 20 else hashlib.sha256
    return digest(b"blob %d\0" % len(content) + content).digest()
