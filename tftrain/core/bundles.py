"""The files of checkpoints in a folder: which there are, what the newest is called, and what may go.

A checkpoint `step-N` is TensorFlow's tensor bundle of two files, with a checksum for every tensor. The file
`checkpoint` lists them as TensorFlow's own managers do. What is not listed, but whole, counts too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from tftrain.runtime.atomic_files import sweep_drafts, sync, write_text
from tftrain.runtime.untrusted import Unreadable, read_text

POINTER = "checkpoint"
FILES = (".data-00000-of-00001", ".index")
_FILE = re.compile(r"(?P<name>step-\d+(-\d+)?)(?P<ending>\.index|\.data-00000-of-00001)(?P<unfinished>\.tempstate\d+)?")
_LISTED = re.compile(r'^all_model_checkpoint_paths: "(step-\d+(?:-\d+)?)"$', re.MULTILINE)


def listed(folder: Path) -> list[str]:
    """The names in the list; none where it is missing or damaged."""
    try:
        return _LISTED.findall(read_text(folder / POINTER, within=folder))
    except Unreadable:
        return []


def bundles(folder: Path) -> list[str]:
    """The names of all that is listed or was written to its end, in the order of their steps."""
    endings: dict[str, set[str]] = {name: set(FILES) for name in listed(folder)}
    for found in _files(folder):
        if not found["unfinished"]:
            endings.setdefault(found["name"], set()).add(found["ending"])
    return sorted((name for name, there in endings.items() if there == set(FILES)), key=_order)


def step_of(name: str) -> int:
    return _order(name)[0]


def steps_in(folder: Path) -> list[int]:
    """The steps that there are checkpoints of, each once, in their order."""
    return sorted({step_of(name) for name in bundles(folder)})


def fresh(folder: Path, step: int) -> str:
    """A name for a checkpoint of this step that no file has."""
    taken, number = {found["name"] for found in _files(folder)}, 1
    while (name := f"step-{step}" if number == 1 else f"step-{step}-{number}") in taken:
        number += 1
    return name


def commit(folder: Path, names: list[str]) -> None:
    """List these, of which the last is new; when this returns all of it is on the disk."""
    for ending in FILES:
        sync(folder / (names[-1] + ending))
    sync(folder)
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    write_text(folder / POINTER, "\n".join(lines) + "\n")


def sweep(folder: Path, kept: Collection[str]) -> None:
    """Delete all other checkpoints, and what a write left behind that was cut off."""
    for found in _files(folder):
        if found["unfinished"] or found["name"] not in kept:
            (folder / found[0]).unlink()
    sweep_drafts(folder)


def _files(folder: Path) -> list[re.Match]:
    try:
        with os.scandir(folder) as entries:  # a link or a named pipe is no part of a checkpoint
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [found for found in map(_FILE.fullmatch, names) if found]


def _order(name: str) -> tuple[int, int]:
    _, step, *repeat = name.split("-")
    return int(step), int(repeat[0]) if repeat else 1
