"""The curves of runs as one PNG, from what their folders hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tftrain.reporting.metrics_file import Series, read_metrics
from tftrain.reporting.plots.curves import curves_of, default_scalars, draw_curves
from tftrain.runtime import atomic_files
from tftrain.runtime.names import did_you_mean, join_names
from tftrain.runtime.run_dir import METRICS, RunFolderError, check_run, run_names
from tftrain.runtime.untrusted import Unreadable

_SHORT_NAMES = (
    12  # scalars named in a message are those of the whole run, not of its parameters
)


def plot(folders: Sequence[Path], wanted: Sequence[str], out: Path) -> Path:
    """Draw the curves of `wanted` scalars, or of loss, metrics and gradient norm; returns the PNG's path.

    Raises:
        RunFolderError: a folder is no run, or holds nothing of what is wanted.
    """
    runs = {
        name: _history(folder)
        for name, folder in zip(run_names(folders), folders, strict=True)
    }
    wanted = list(wanted) or _usual(runs)
    for name in wanted:
        if not any(curves_of(one, name) for one in runs.values()):
            raise RunFolderError(
                f"--curves: no run has a scalar '{name}'; {_there(runs, name)}"
            )
    title = next(iter(runs)) if len(runs) == 1 else f"{len(runs)} runs"
    figure = draw_curves(runs if len(runs) > 1 else {"": runs[title]}, wanted, title)
    with atomic_files.raising_write_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.atomic_path(out) as aside:
        figure.savefig(aside, format="png")
    return out


def _history(folder: Path) -> dict[str, Series]:
    check_run(folder, METRICS)
    try:
        read = read_metrics(folder / METRICS)
    except Unreadable as error:
        raise RunFolderError(f"run folder {folder}: {error}") from None
    if not read:
        raise RunFolderError(f"run folder {folder}: {METRICS} has no point yet")
    return read


def _usual(runs: dict[str, dict[str, Series]]) -> list[str]:
    """Those that any run has of loss, metrics and gradient norm."""
    names = dict.fromkeys(
        name
        for one in runs.values()
        for name in default_scalars(one)
        if curves_of(one, name)
    )
    if not names:
        raise RunFolderError(
            f"{', '.join(runs)}: there is no loss and no gradient norm; give --curves NAMES"
        )
    return list(names)


def _there(runs: dict[str, dict[str, Series]], name: str) -> str:
    known = list(
        dict.fromkeys(
            one for run in runs.values() for one in run if one != "wall_seconds"
        )
    )
    plain = [one for one in known if "/" not in one][:_SHORT_NAMES]
    return f"there are {join_names(plain)} and those of each parameter{did_you_mean(name, known)}"
