"""The files of a run that an earlier session wrote and that are gone: what is lost with them."""

from __future__ import annotations

from pathlib import Path

from tftrain.reporting.metrics_file import last_step
from tftrain.reporting.tensorboard.event_file import last_event_step
from tftrain.reporting.tensorboard.hparams import FILE_SUFFIX
from tftrain.runtime.run_dir import (
    CHECKPOINTS,
    EVENTS,
    METRICS,
    RESULTS,
    VALIDATION,
)


def lost_lines(
    folder: Path, start: int, point: int, is_validated: bool
) -> list[str]:
    """Return a line for each file that is gone, or cut.

    Args:
        folder: the run's.
        start: the step of its checkpoint; 0 is none.
        point: the step of the last point that was logged up to there; 0 is none.
        is_validated: whether there was a validation up to there.
    """
    if not start:
        has_begun = (folder / RESULTS).is_file() or last_step(
            folder / METRICS
        ) > 0
        if has_begun:
            return [
                f"{folder / CHECKPOINTS} holds no checkpoint, although the run had begun, so it begins anew"
            ]
        return []
    if not point:
        return []
    lines = []
    reached = last_step(folder / METRICS, start)
    if not reached:
        lines.append(
            f"{folder / METRICS} is lost, and with it the curves up to step {point} for plot and report"
        )
    elif reached < point:
        lines.append(
            f"{folder / METRICS} ends at step {reached}: its points from there to step {point} are lost"
        )
    for events in (folder, folder / VALIDATION) if is_validated else (folder,):
        files = [
            path
            for path in events.glob(f"{EVENTS}*")
            if not path.name.endswith(FILE_SUFFIX)
        ]
        last_shown = max(map(last_event_step, files), default=0)
        if not last_shown:
            lines.append(
                f"the event file in {events} is lost: TensorBoard shows no curves of it up to step {start}"
            )
        elif last_shown < point and events == folder:
            lacking = f"TensorBoard lacks the points to step {point}"
            lines.append(
                f"the event files in {events} end at step {last_shown}: {lacking}"
            )
    return lines
