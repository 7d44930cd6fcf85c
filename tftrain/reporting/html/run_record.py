"""What the folders of runs hold, also those of runs that have not ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tftrain.config.config_file import MAX_BYTES, read_alone
from tftrain.config.conversion import to_plain
from tftrain.reporting.metrics_file import Series, read_metrics, unreadable
from tftrain.runtime import untrusted
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.run_dir import (
    CONFIG,
    INCIDENTS,
    METRICS,
    RESULTS,
    SPLITS,
    check_run,
    is_step,
    run_names,
)
from tftrain.runtime.run_lock import lock_owner
from tftrain.runtime.run_results import read_results
from tftrain.runtime.untrusted import Unreadable

TEXT = "incident.txt"
MAX_INCIDENT_BYTES = 2**20


@dataclass(frozen=True)
class RunRecord:
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
        return "; ".join([self._outcome(), *self.faults])

    def _outcome(self) -> str:
        if self.results:
            stopped, skipped = (
                self.results.get("stopped"),
                self.results.get("skipped"),
            )
            outcome = f"stopped early: {stopped}" if stopped else "finished"
            return (
                f"{outcome}, {skipped} of its {self.steps} updates skipped"
                if skipped
                else outcome
            )
        if self.running:
            return "still running"
        if any(fault.startswith(RESULTS) for fault in self.faults):
            return "what it came to is not known"
        return (
            "not finished: it was killed, or failed"
            if self.history
            else "not finished: it has no point yet"
        )

    def figures(self) -> dict[tuple[str, str], float]:
        """(split, name) -> value, of all that the run came to."""
        return {
            (split, name): value
            for split in SPLITS
            for name, value in self.results.get(split, {}).items()
        }


def read_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """Raises RunFolderError where a folder is no run; files of one that are damaged are among its faults."""
    return [
        _read_record(name, folder)
        for name, folder in zip(run_names(folders), folders, strict=True)
    ]


def _read_record(name: str, folder: Path) -> RunRecord:
    check_run(folder, CONFIG, METRICS)
    faults: list[str] = []
    running = lock_owner(folder) is not None
    history, lost = _history(folder / METRICS, faults)
    config, text = _config(folder / CONFIG, faults)
    try:
        results = read_results(folder)
    except Unreadable as error:
        results = {}
        faults.append(f"{RESULTS} is damaged: it {error.why}")
    else:
        if not running and not lost:
            faults += _missing_points(folder / METRICS, history, results)
    return RunRecord(
        name,
        config,
        text,
        history,
        results,
        _incidents(folder, faults),
        running,
        tuple(faults),
    )


def _history(path: Path, faults: list[str]) -> tuple[dict[str, Series], bool]:
    """The curves, and whether the file that holds them cannot be read."""
    try:
        return read_metrics(path), False
    except Unreadable as error:
        faults.append(f"{METRICS} {error.why}")
        return {}, True


def _config(path: Path, faults: list[str]) -> tuple[dict[str, Any], str]:
    """The config as plain values and as text, both empty where there is none."""
    if not os.path.lexists(path):
        return {}, ""
    try:
        text = untrusted.read_text(path, root=path.parent, limit=MAX_BYTES)
    except Unreadable as error:
        faults.append(f"{CONFIG} {error.why}")
        return {}, ""
    try:
        return to_plain(read_alone(path)), text
    except ConfigError as error:
        faults.append(
            f"{CONFIG} cannot be read: {error.problems[0].removeprefix(f'{path}:')}"
        )
        return {}, text


def _missing_points(
    path: Path, history: dict[str, Series], results: dict[str, Any]
) -> list[str]:
    """What is missing of the points of a run that has ended."""
    steps, lost = results.get("steps", 0), unreadable(path)
    last = max(
        (int(series.steps[-1]) for series in history.values()), default=0
    )
    faults = (
        [f"{lost} of the lines of {METRICS} cannot be read"] if lost else []
    )
    if steps and not history:
        faults.append(
            f"{METRICS} {'holds no point' if path.is_file() else 'is missing'}, so there are no curves"
        )
    elif steps > last and not results.get("stopped"):
        faults.append(f"{METRICS} ends at step {last}, and with it the curves")
    return faults


def _incidents(folder: Path, faults: list[str]) -> dict[str, str]:
    """The text of each incident by its step; one that cannot be read is among the faults."""
    texts = {}
    try:
        names = untrusted.list_folder(folder / INCIDENTS, root=folder)
    except Unreadable as error:
        faults.append(f"{INCIDENTS} {error.why}")
        return {}
    for name in names:
        path = folder / INCIDENTS / name / TEXT
        if not is_step(name) or not os.path.lexists(path):
            continue
        try:
            texts[str(int(name))] = untrusted.read_text(
                path, root=folder, limit=MAX_INCIDENT_BYTES
            )
        except Unreadable as error:
            faults.append(f"{INCIDENTS}/{name}/{TEXT} {error.why}")
    return texts
