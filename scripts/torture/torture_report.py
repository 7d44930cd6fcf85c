"""What became of the runs of a config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    "kill": "SIGKILL at any moment",
    "operation": "SIGKILL in place of opening, making, renaming, removing or syncing a file",
    "byte": "the end within a write, of which the first bytes are on the disk",
    "stop": "SIGTERM or Ctrl-C, which save first: exit status 143 or 130",
    "full": "a disk without space, or a limit on the size of files: exit status 1 or 2 and no traceback",
    "checkpoint": "the newest checkpoint is damaged: named, and the one before is taken",
    "points": "an event file or the records are damaged: no point is wrong or stands twice",
    "clock": "a session whose clock is set back or forth, then SIGKILL: all points are shown, in their order",
    "lost": "the records, an event file or all checkpoints are gone: named, and no point is wrong or stands twice",
    "link": "a symbolic link in the place of a file or folder: refused, and nothing is written where it leads",
    "model": "model.keras is gone or cut after the end: written again, the same",
    "second": "another process in the same folder: refused, and nothing changed",
}


@dataclass
class Report:
    """Counts by kind of fault. `lost` are runs that did not come to the end of the one left in peace."""

    runs: int = 0
    lost: int = 0
    tried: Counter = field(default_factory=Counter)
    survived: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        tried, survived = dict(self.tried), dict(self.survived)
        return {
            "runs": self.runs,
            "lost": self.lost,
            "tried": tried,
            "survived": survived,
            "problems": self.problems,
        }


def summed(reports: Iterable[Report]) -> Report:
    total = Report()
    for one in reports:
        total.runs, total.lost = total.runs + one.runs, total.lost + one.lost
        total.tried.update(one.tried)
        total.survived.update(one.survived)
        total.problems += one.problems
    return total
