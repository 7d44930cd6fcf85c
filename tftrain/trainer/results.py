"""What a run comes to: its curves, the trained model, and the figures at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras

from tftrain.reporting.metrics_file import Series
from tftrain.runtime import atomic_files, run_dir, run_results
from tftrain.runtime.untrusted import Unreadable
from tftrain.trainer.signals import INTERRUPTED

# By split: the loss and the metrics, of the weights in model.keras.
Results = dict[str, dict[str, float]]


class Result(NamedTuple):
    """What a run leaves.

    Attributes:
        history: its curves by name. `history["loss"]` is (steps, values), so that
            `plt.plot(*result.history["loss"])` draws it.
        model: the trained model, behind the run's preprocessing.
        results: the figures at its end.
        folder: that of the run.
        stopped: why the run ended before its last step; None where it did not.
        failed: whether it ended at a NaN or an infinity.
    """

    history: dict[str, Series]
    model: keras.Model
    results: Results
    folder: Path
    stopped: str | None
    failed: bool

    def last_step(self) -> int:
        """Return the last step that was logged, 0 where none was."""
        return max(
            (int(series.steps[-1]) for series in self.history.values()),
            default=0,
        )

    def __repr__(self) -> str:
        """Describe the run in a few lines, without the numbers of its curves."""
        points = (
            len(self.history["loss"].steps) if "loss" in self.history else 0
        )
        lines = [
            f"folder={str(self.folder)!r}",
            f"results={self.results}",
            f"history={len(self.history)} scalars, {points} points of the loss up to step {self.last_step()}",
            f"model=<{type(self.model).__name__} {self.model.name!r}, {self.model.count_params()} parameters>",
            f"stopped={self.stopped!r}, failed={self.failed}",
        ]
        return f"Result({', '.join(lines)})"


def write(
    folder: Path,
    results: Results,
    steps: int,
    stopped: str | None,
    facts: Mapping[str, Any],
) -> None:
    """Write `results.json`.

    Args:
        folder: that of the run.
        results: the figures at its end.
        steps: how many were taken.
        stopped: why it ended before its last step; None where it did not.
        facts: other entries, such as the seconds of the run.
    """
    summary = {"steps": steps, "stopped": stopped, **facts, **results}
    atomic_files.write_text(
        folder / run_dir.RESULTS, json.dumps(summary, indent=1) + "\n"
    )


def read_end(folder: Path) -> tuple[int, str | None] | None:
    """Return after how many steps a run ended, and why it ended early; None where it was interrupted, or goes on."""
    try:
        summary = run_results.read_results(folder)
    except Unreadable:
        return None
    stopped = summary.get("stopped")
    if not summary or (stopped or "").startswith(INTERRUPTED):
        return None
    return summary["steps"], stopped


def read(folder: Path, steps: int) -> Results | None:
    """Return the figures at the end of a run; None where it did not end after so many steps.

    Args:
        folder: that of the run.
        steps: those of the run's last checkpoint.
    """
    end = read_end(folder)
    if end is None or end[0] != steps:
        return None
    summary = run_results.read_results(folder)
    return {
        split: summary[split] for split in run_dir.SPLITS if split in summary
    }
