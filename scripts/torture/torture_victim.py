"""A run that is struck again and again until it comes to its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from torture_compare import newest
from torture_session import Session

ROOMY = 2**30
FIRST_STEP = b"step "


@dataclass(frozen=True)
class Peace:
    """What a run left in peace took."""

    start_seconds: float  # up to the first line of training
    seconds: float  # from there to the end
    operations: int  # on files, as far as they are counted
    largest: int  # bytes of its largest file


class Disk:
    """Owns a small file system in memory, which only this process and its forks see."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        subprocess.run(
            [
                "mount",
                "-t",
                "tmpfs",
                "-o",
                f"size={ROOMY}",
                "none",
                str(folder),
            ],
            check=True,
        )

    def leave(self, size: int) -> None:
        """Leaves so many bytes free."""
        found = os.statvfs(self.folder)
        self._resize(
            (found.f_blocks - found.f_bfree) * found.f_frsize
            + max(size, found.f_frsize)
        )

    def enlarge(self) -> None:
        self._resize(ROOMY)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        self.folder.rmdir()

    def _resize(self, size: int) -> None:
        subprocess.run(
            ["mount", "-o", f"remount,size={size}", str(self.folder)],
            check=True,
        )


@dataclass
class Victim:
    """The state of one tortured run. `torn` says that points may be missing, since their file was damaged."""

    config: Path
    folder: Path
    peace: Peace
    random: Random
    disk: Disk | None = None
    over: bool = False
    broken: bool = False  # a session failed that should not have
    torn: bool = False
    patience: float = 1.0
    problems: list[str] = field(default_factory=list)

    def start(self, arm: Callable[[], None] = lambda: None) -> Session:
        """A new session, which goes on where the one before was struck."""
        words = ["--resume", "--run-dir", str(self.folder)]
        if not (self.folder / "config.yaml").is_file():
            words += ["--config", str(self.config)]
        return Session(words, self.config.parent, arm)

    def checkpoints(self) -> list[str]:
        return newest(self.folder / "checkpoints")

    def some_seconds(self) -> float:
        """A time within training; it grows while no checkpoint comes to be."""
        return self.random.uniform(0, self.patience * self.peace.seconds / 3)

    def settle(self, session: Session, expected: tuple[int, ...]) -> bool:
        """Waits for a session's end, which is the run's, or one that was expected; whether it was the latter."""
        try:
            status = session.end()
        except TimeoutError as error:
            self.complain(str(error), breaks=True)
            return True
        if status == 0:
            self.over = True
            return False
        if status not in expected:
            self.complain(
                f"status {status}: {session.last_words()}", breaks=status > 0
            )
        if b"Traceback" in session.output:
            self.complain(f"a traceback: {session.last_words()}")
        return True

    def complain(self, problem: str, breaks: bool = False) -> None:
        self.problems.append(problem)
        self.broken |= breaks
