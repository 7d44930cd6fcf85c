"""Every logged scalar as one line of JSON per step, for scripts and notebooks."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tftrain.core.types import LogData
from tftrain.runtime.atomic_files import NOFOLLOW, raising_write_error
from tftrain.runtime.untrusted import Unreadable, parse_json, read_lines

_LAST_STEP = 2**63 - 1
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Series(NamedTuple):
    """One scalar over a run: `steps` [points] int64 and `values` [points] float64."""

    steps: np.ndarray
    values: np.ndarray


class MetricsFile:
    """An observer that owns the records of a run; lines of an earlier session after `start_step` are dropped."""

    def __init__(self, path: Path, start_step: int = 0):
        kept_bytes = 0
        earlier_seconds = 0.0
        for record, end in _read_records(Path(path)) if start_step else ():
            if record["step"] <= start_step:
                kept_bytes = end
                earlier_seconds = record["wall_seconds"]
        self._zero = time.monotonic() - earlier_seconds
        self._path = path
        with raising_write_error(path):
            self._file = open(path, "ab", opener=_open_own)
            # Steps only grow, so what is dropped is the tail: cutting it off is one system call.
            self._file.truncate(kept_bytes)

    def __call__(self, step: int, signals: LogData) -> None:
        head = {
            "step": int(step),
            "wall_seconds": round(time.monotonic() - self._zero, 3),
        }
        line = to_json_line(head | signals.scalars | head)
        with raising_write_error(self._path):
            self._file.write(line)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        with raising_write_error(self._path):
            self._file.flush()

    def sync(self) -> None:
        """Wait until all that was flushed is on the disk."""
        with raising_write_error(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with raising_write_error(self._path):
            self._file.close()


def read_metrics(path: Path) -> dict[str, Series]:
    """Read the records of a run, also of one that is being written, as one series for each scalar.

    Raises Unreadable where the file is a link, no regular file, or has a line without an end.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for record, _ in _read_records(Path(path)):
        step = record.pop("step")
        for name, value in record.items():
            number = _number_of(value)
            if number is not None:
                points.setdefault(name, []).append((step, number))
    return {name: _to_series(pairs) for name, pairs in points.items()}


def last_step(path: Path, limit: int | None = None) -> int:
    """Return the last step that has a record, 0 if none has.

    Args:
        path: of the file of records.
        limit: later steps do not count.
    """
    last = 0
    for record, _ in _read_records(path):
        if limit is None or record["step"] <= limit:
            last = record["step"]
    return last


def unreadable(path: Path) -> int:
    """Return how many whole lines of a file of records are no record.

    The line that a run is writing, or was killed in, has no end and does not count.
    """
    return sum(line.endswith(b"\n") for line in _read_lines(path)) - sum(
        1 for _ in _read_records(path)
    )


def _open_own(path: str, flags: int) -> int:
    """Opens a file of the run's own, and no link in its place."""
    return os.open(path, flags | NOFOLLOW, 0o666)


def _number_of(value: object) -> float | None:
    """A value of a record as a number; None where it is none."""
    number = NOT_FINITE.get(value, value) if isinstance(value, str) else value
    try:
        return float(number) if isinstance(number, (int, float)) else None
    except OverflowError:
        return None


def _to_series(pairs: list[tuple[int, float]]) -> Series:
    steps, values = zip(*pairs, strict=True)
    return Series(np.array(steps, np.int64), np.array(values, np.float64))


def to_json_line(record: Mapping[str, float]) -> bytes:
    """Return a record as a line of strict JSON; NaN and infinity become strings."""
    try:
        text = _encode(record)
    except ValueError:
        # Something is not finite, which is rare: checking first would take as long as writing.
        text = _encode(
            {name: _to_json_number(value) for name, value in record.items()}
        )
    return text.encode() + b"\n"


def _to_json_number(value: float) -> float | int | str:
    """Returns what strict JSON can hold; it has no word for what is not finite."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    value = float(value)
    if math.isfinite(value):
        return value
    return (
        "NaN"
        if math.isnan(value)
        else ("Infinity" if value > 0 else "-Infinity")
    )


_encode = json.JSONEncoder(
    allow_nan=False, check_circular=False, default=_to_json_number
).encode


def _read_records(path: Path) -> Iterator[tuple[dict[str, float | str], int]]:
    """Yields each record, and where its line ends in the file.

    A killed run can leave a torn last line, and a lost sector any other: what cannot be read is passed over.
    """
    end = 0
    for line in _read_lines(path):
        end += len(line)
        try:
            record = parse_json(line, path)
        except Unreadable:
            continue
        if (
            line.endswith(b"\n")
            and isinstance(record, dict)
            and _is_point(record)
        ):
            yield record, end


def _read_lines(path: Path) -> Iterator[bytes]:
    return (
        read_lines(path, root=path.parent)
        if os.path.lexists(path)
        else iter(())
    )


def _is_point(record: dict[str, float | str]) -> bool:
    step = record.get("step")
    if not isinstance(step, int) or not 0 <= step <= _LAST_STEP:
        return False
    seconds = (
        None
        if isinstance(record.get("wall_seconds"), str)
        else _number_of(record.get("wall_seconds"))
    )
    return seconds is not None and math.isfinite(seconds)
