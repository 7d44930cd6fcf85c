"""What the folders of runs hold, also those of runs that have not ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tftrain.compose import compose
from tftrain.convert import plain
from tftrain.lock import holder
from tftrain.names import listed
from tftrain.observers.records import Series, history, unreadable
from tftrain.run_folder import CONFIG, INCIDENTS, METRICS, RESULTS, RunFolderError, run_names
from tftrain.strict import ConfigError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Run:
    """A run as far as it got: its `config` as plain values, its curves, what it came to, and what went wrong."""

    name: str
    config: dict[str, Any]  # empty where there is none
    config_text: str
    history: dict[str, Series]
    results: dict[str, Any]  # those of results.json; empty before the end
    incidents: dict[str, str]  # by the step
    running: bool
    faults: tuple[str, ...] = ()  # of its files

    @property
    def steps(self) -> int:
        """The last step that is known of."""
        last = (int(series.steps[-1]) for series in self.history.values())
        return max([self.results.get("steps", 0), *last])

    def state(self) -> str:
        """How far it got, in words."""
        return "; ".join([self._ended(), *self.faults])

    def _ended(self) -> str:
        if self.results:
            stopped, skipped = self.results.get("stopped"), self.results.get("skipped")
            ended = f"stopped early: {stopped}" if stopped else "finished"
            return f"{ended}, {skipped} of its {self.steps} updates skipped" if skipped else ended
        if self.running:
            return "still running"
        if any(fault.startswith(RESULTS) for fault in self.faults):
            return "what it came to is not known"
        return "not finished: it was killed, or failed" if self.history else "not finished: it has no point yet"

    def figures(self) -> dict[tuple[str, str], float]:
        """(split, name) -> value, of all that the run came to."""
        return {(split, name): value for split in SPLITS for name, value in self.results.get(split, {}).items()}


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Raises RunFolderError where a folder is no run; files of one that are damaged are among its faults."""
    return [_read(name, folder) for name, folder in zip(run_names(folders), folders, strict=True)]


def _read(name: str, folder: Path) -> Run:
    if not folder.is_dir():
        raise RunFolderError(f"run folder {folder}: there is no such folder")
    if not (folder / CONFIG).is_file() and not (folder / METRICS).is_file():
        inside = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))
        hint = f"; runs are within it: {listed(inside)}" if inside else ""
        raise RunFolderError(f"run folder {folder}: holds no {CONFIG} and no {METRICS}, so it is no run{hint}")
    faults: list[str] = []
    running, found = holder(folder) is not None, history(folder / METRICS)
    config, text = _config(folder / CONFIG, faults)
    results = _results(folder)
    if results is None:
        faults.append(f"{RESULTS} is damaged")
    elif not running:
        faults += _lacking(folder / METRICS, found, results)
    return Run(name, config, text, found, results or {}, _incidents(folder), running, tuple(faults))


def _config(path: Path, faults: list[str]) -> tuple[dict[str, Any], str]:
    """The config as plain values and as text, both empty where there is none."""
    if not path.is_file():
        return {}, ""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    try:
        return plain(compose(path)), text
    except ConfigError as error:
        faults.append(f"{CONFIG} cannot be read: {error.problems[0].removeprefix(f'{path}:')}")
        return {}, text


def _lacking(path: Path, found: dict[str, Series], results: dict[str, Any]) -> list[str]:
    """What is missing of the points of a run that has ended."""
    steps, lost = results.get("steps", 0), unreadable(path)
    last = max((int(series.steps[-1]) for series in found.values()), default=0)
    faults = [f"{lost} of the lines of {METRICS} cannot be read"] if lost else []
    if steps and not found:
        faults.append(f"{METRICS} {'holds no point' if path.is_file() else 'is missing'}, so there are no curves")
    elif steps > last and not results.get("stopped"):
        faults.append(f"{METRICS} ends at step {last}, and with it the curves")
    return faults


def _results(folder: Path) -> dict[str, Any] | None:
    """What a run came to; nothing before its end, None where the file is damaged."""
    path = folder / RESULTS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) and _is_whole(found) else None


def _is_whole(results: dict[str, Any]) -> bool:
    """Whether what is read here is of the kind that a run writes."""
    tables = [results.get(name, {}) for name in (*SPLITS, "time")]
    numbers = [
        results.get("steps", 0),
        *(value for table in tables if isinstance(table, dict) for value in table.values()),
    ]
    return all(isinstance(table, dict) for table in tables) and all(isinstance(one, (int, float)) for one in numbers)


def _incidents(folder: Path) -> dict[str, str]:
    texts = sorted(folder.glob(f"{INCIDENTS}/*/incident.txt"))
    texts = [path for path in texts if path.parent.name.isdecimal()]
    return {str(int(path.parent.name)): path.read_text(encoding="utf-8", errors="replace") for path in texts}
