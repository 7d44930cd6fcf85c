"""The trial of one config: it runs in peace once, and is then struck, run after run."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from pathlib import Path
from random import Random

from torture_compare import Table, differences, table
from torture_faults import FAULTS
from torture_report import Report
from torture_session import Operations, Session
from torture_victim import FIRST_STEP, Disk, Peace, Victim

MODEL = "model"  # the fault that comes after the end
ON_A_DISK = 0.3  # share of the runs on a small file system of their own, where one can be mounted
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS


def can_mount() -> bool:
    """Whether this process may mount a disk of its own; from then on nobody else sees what it mounts."""
    if os.geteuid() or ctypes.CDLL(None).unshare(NEW_MOUNTS):
        return False
    return not subprocess.run(
        ["mount", "--make-rprivate", "/"], capture_output=True
    ).returncode


class Trial:
    """Owns the faults that are to come, and the report of those that came."""

    def __init__(self, config: Path, seed: str, mounts: bool):
        self._config, self._random, self._mounts = config, Random(seed), mounts
        self._deck: list[str] = []
        self._report = Report()

    def run(self, faults: int) -> Report:
        """Strikes runs until so many faults have struck, and lets each run come to its end."""
        try:
            peace = self._left_in_peace()
        except RuntimeError as error:
            return Report(lost=1, problems=[str(error)])
        expected = table(self._config.with_suffix(""))
        while self._report.tried.total() < faults:
            self._one_run(peace, expected, faults)
        return self._report

    def _left_in_peace(self) -> Peace:
        folder, counted = (
            self._config.with_suffix(""),
            self._config.with_suffix(".count"),
        )
        began = time.monotonic()
        words = ["--config", str(self._config), "--run-dir", str(folder)]
        session = Session(
            words,
            self._config.parent,
            Operations(folder, told=str(counted)).arm,
        )
        session.prints(FIRST_STEP)
        first = time.monotonic()
        if session.end():
            raise RuntimeError(
                f"does not even run in peace: {session.last_words()}"
            )
        largest = max(
            path.stat().st_size for path in folder.rglob("*") if path.is_file()
        )
        return Peace(
            first - began,
            time.monotonic() - first,
            int(counted.read_text()),
            largest,
        )

    def _one_run(self, peace: Peace, expected: Table, faults: int) -> None:
        """A run from its start to its end."""
        report, config = self._report, self._config
        report.runs += 1
        on_a_disk = self._random.random() < ON_A_DISK and self._mounts
        disk = Disk(config.with_suffix(".disk")) if on_a_disk else None
        folder = (
            disk.folder if disk else config.parent
        ) / f"{config.stem}_struck"
        victim = Victim(config, folder, peace, self._random, disk)
        struck = self._strike(victim, faults)
        ends = (
            []
            if victim.broken
            else differences(table(folder), expected, victim.torn)
        )
        if ends or victim.broken:
            report.lost += 1
        else:
            report.survived.update(struck)
        history = f"run {report.runs}{' on a small disk' if disk else ''} ({', '.join(struck)})"
        report.problems += [
            f"{history}: {problem}" for problem in [*victim.problems, *ends]
        ]
        shutil.rmtree(folder, ignore_errors=True)
        if disk:
            disk.close()

    def _strike(self, victim: Victim, faults: int) -> list[str]:
        """Strikes a run until it is over; the faults that struck."""
        struck: list[str] = []
        while not victim.over and not victim.broken:
            if self._report.tried.total() >= faults:
                victim.settle(victim.start(), ())
                continue
            kind, before, complaints = (
                self._draw(),
                victim.checkpoints()[:1],
                len(victim.problems),
            )
            if FAULTS[kind][0](victim):
                self._report.tried[kind] += 1
                struck.append(kind)
            victim.problems[complaints:] = [
                f"{kind}: {problem}" for problem in victim.problems[complaints:]
            ]
            victim.patience = (
                1.0
                if victim.checkpoints()[:1] != before
                else victim.patience * 1.5
            )
        if not victim.broken and self._report.tried.total() < faults:
            self._report.tried[MODEL] += 1
            struck.append(MODEL)
            FAULTS[MODEL][0](victim)
        return struck

    def _draw(self) -> str:
        if not self._deck:
            self._deck = [
                name
                for name, (_, often) in FAULTS.items()
                for _ in range(often)
            ]
            self._random.shuffle(self._deck)
        return self._deck.pop()
