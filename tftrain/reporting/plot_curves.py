"""The curves of runs as one PNG, from what their folders hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tftrain.reporting.metrics_file import Series, read_metrics
from tftrain.reporting.plots.curves import (
    curves_of,
    default_scalars,
    draw_curves,
)
from tftrain.runtime import atomic_files
from tftrain.runtime.names import did_you_mean, join_names
from tftrain.runtime.run_dir import (
    METRICS,
    RunFolderError,
    check_run,
    run_names,
)
from tftrain.runtime.untrusted import Unreadable

# A message lists up to this many scalars, those of the whole run and not of its parameters.
_SHORT_NAMES = 12


def plot(folders: Sequence[Path], scalars: Sequence[str], out: Path) -> Path:
    """Draw the curves of runs in one figure and return the path of its PNG.

    Args:
        folders: folders of the runs.
        scalars: names of the scalars to draw; if empty, loss, metrics and gradient norm.
        out: path of the PNG.

    Raises:
        RunFolderError: a folder is no run, or holds none of the scalars.
    """
    runs = {
        name: _read_history(folder)
        for name, folder in zip(run_names(folders), folders, strict=True)
    }
    scalars = list(scalars) or _usual_scalars(runs)
    for name in scalars:
        if not any(curves_of(history, name) for history in runs.values()):
            raise RunFolderError(
                f"--curves: no run has a scalar '{name}'; {_known_scalars_hint(runs, name)}"
            )
    title = next(iter(runs)) if len(runs) == 1 else f"{len(runs)} runs"
    figure = draw_curves(
        runs if len(runs) > 1 else {"": runs[title]}, scalars, title
    )
    with atomic_files.raising_write_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.atomic_path(out) as aside:
        figure.savefig(aside, format="png")
    return out


def _read_history(folder: Path) -> dict[str, Series]:
    check_run(folder, METRICS)
    try:
        read = read_metrics(folder / METRICS)
    except Unreadable as error:
        raise RunFolderError(f"run folder {folder}: {error}") from None
    if not read:
        raise RunFolderError(f"run folder {folder}: {METRICS} has no point yet")
    return read


def _usual_scalars(runs: dict[str, dict[str, Series]]) -> list[str]:
    """Those that any run has of loss, metrics and gradient norm."""
    names = dict.fromkeys(
        name
        for history in runs.values()
        for name in default_scalars(history)
        if curves_of(history, name)
    )
    if not names:
        raise RunFolderError(
            f"{', '.join(runs)}: there is no loss and no gradient norm; give --curves NAMES"
        )
    return list(names)


def _known_scalars_hint(runs: dict[str, dict[str, Series]], name: str) -> str:
    known = list(
        dict.fromkeys(
            scalar
            for run in runs.values()
            for scalar in run
            if scalar != "wall_seconds"
        )
    )
    plain = [scalar for scalar in known if "/" not in scalar][:_SHORT_NAMES]
    return f"there are {join_names(plain)} and those of each parameter{did_you_mean(name, known)}"
