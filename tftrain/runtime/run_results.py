"""Reads results.json of a run, and trusts nothing in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tftrain.runtime import untrusted
from tftrain.runtime.run_dir import RESULTS, SPLITS
from tftrain.runtime.untrusted import Unreadable


def read_results(folder: Path) -> dict[str, Any]:
    """Return the results that a run wrote at its end, empty before that.

    Raises:
        Unreadable: the file is damaged.
    """
    path = folder / RESULTS
    if not os.path.lexists(path):
        return {}
    results = untrusted.read_json(path, root=folder)
    if not isinstance(results, dict) or not _is_valid(results):
        raise Unreadable(path, "is not what a run writes")
    return results


def _is_valid(results: dict[str, Any]) -> bool:
    """Whether all that readers rely on is there, and has the type that a run writes."""
    tables = [results.get(name, {}) for name in (*SPLITS, "time")]
    if not all(isinstance(table, dict) for table in tables):
        return False
    counts = [
        results.get("steps"),
        results.get("skipped", 0),
        results.get("rewinds", 0),
    ]
    values = [value for table in tables for value in table.values()]
    values.append(results.get("seconds", 0))
    return (
        all(isinstance(count, int) and 0 <= count < 2**63 for count in counts)
        and all(_is_number(value) for value in values)
        and isinstance(results.get("stopped"), (str, type(None)))
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, float)
