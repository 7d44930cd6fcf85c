"""What a peer of a benchmark is told, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """What takes part: the name of a workload, a folder for its files, and how often the observed ones write."""

    workload_name: str
    folder: Path
    log_every: int
    settings: list[str]  # changes of tftrain's config, as `--set` takes them


class Runner(NamedTuple):
    """`train()` goes on for ever; `steps()` tells at any time, from any thread, how many are done."""

    train: Callable[[], None]
    steps: Callable[[], int]
    facts: dict[str, float] = {}
