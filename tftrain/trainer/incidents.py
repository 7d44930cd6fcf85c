"""Incident folders: a step that went wrong, with all that is needed to repeat it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tftrain.core.checkpoint import Checkpoints
from tftrain.core.metric_aggregator import PER_PARAMETER, Rows
from tftrain.core.trouble import Trouble
from tftrain.core.types import Batch, Signals
from tftrain.core.variables import parameter_names
from tftrain.data.batches import leaves, map_leaves
from tftrain.diagnostics.fault import blame
from tftrain.diagnostics.layer_stats import table_of
from tftrain.diagnostics.layer_trace import passes
from tftrain.reporting.metrics_file import NOT_FINITE, line_of
from tftrain.runtime import run_dir, untrusted
from tftrain.runtime.atomic_files import draft_path, make_folder, settle, sweep_drafts, write_text
from tftrain.runtime.npz import read_npz
from tftrain.runtime.untrusted import Unreadable
from tftrain.runtime.zip_clock import zip_clock
from tftrain.trainer.incident_text import incident_text

if TYPE_CHECKING:
    from tftrain.trainer.build import Run

BATCH, STATE, SIGNALS, TEXT = "batch.npz", "state", "signals.jsonl", "incident.txt"
MOST = 10  # folders in a run


class Incidents:
    """Owns the incident folders of a run; only the first steps that go wrong get one, and Skips counts all of them."""

    def __init__(self, run: Run, folder: Path):
        self._run, self._folder = run, folder / run_dir.INCIDENTS
        self.last: Path | None = None  # the folder of the last step that went wrong, where it has one

    def add(self, trouble: Trouble) -> Signals:
        """Write down a step that went wrong, and give the text for TensorBoard.

        Nothing that fails here, such as a full disk, is worse than what is being told: it is a warning.
        """
        self.last = None
        if len(_there(self._folder)) >= MOST:
            return Signals()
        final = self._folder / f"{trouble.step:08d}"
        try:
            text = self._write(trouble, final)
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"the incident of step {trouble.step} could not be written: {why}", stacklevel=2)
            return Signals()
        self.last = final
        return Signals(texts={f"incidents/{final.name}": f"```\n{text}```\n"})

    def remark(self) -> str:
        """What to add to the line that ends a run."""
        return f"; see {self.last / TEXT}" if self.last else ""

    def _write(self, trouble: Trouble, final: Path) -> str:
        run, feed, making = self._run, self._run.data.train, draft_path(final)
        batch = map_leaves(np.asarray, feed.batch(feed.serve(trouble.step - 1, 1), tf.constant(0)))
        scale = float(trouble.rows["loss_scale"][-1]) if run.state.loss_scale else 1.0
        try:
            make_folder(self._folder)
            sweep_drafts(self._folder)
            making.mkdir()
            with _before(run, trouble.step, scale):
                Checkpoints(making / STATE, run.state).save(trouble.step - 1)
                table = table_of(passes(run.objective, batch, scale, run.state.carry))
            text = incident_text(trouble, blame(table, batch), table, run.config, final)
            with zip_clock():
                np.savez(making / BATCH, **leaves(batch))
            lines = signal_lines(trouble.rows, trouble.step, parameter_names(run.state.model))
            (making / SIGNALS).write_bytes(b"".join(map(line_of, lines)))
            write_text(making / TEXT, text)
            if final.exists():  # of a session before, which came to the same step
                shutil.rmtree(final)
            settle(making, final)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return text


def signal_lines(rows: Rows, last_step: int, names: list[str]) -> list[dict[str, float]]:
    """The rows of steps up to `last_step`, a dict of numbers for each."""
    columns = {"step": np.arange(last_step - len(rows["finite"]) + 1, last_step + 1)}
    for key, values in rows.items():
        if key in PER_PARAMETER:
            columns |= {f"{PER_PARAMETER[key]}/{name}": values[:, place] for place, name in enumerate(names)}
        else:
            columns[key] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read_batch(folder: Path, like: Batch) -> Batch:
    """Read the batch of an incident, with the parts, shapes and types of `like`; raises Unreadable."""
    expected = {name: ((None, *spec.shape[1:]), spec.dtype.as_numpy_dtype) for name, spec in leaves(like).items()}
    arrays = read_npz(folder / BATCH, expected, within=folder)
    sizes = {array.shape[0] for array in arrays.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise Unreadable(folder / BATCH, "holds arrays of different numbers of examples, or of none")
    values = iter([tf.constant(array) for array in arrays.values()])
    return map_leaves(lambda _: next(values), like)


def read_signals(folder: Path) -> dict[str, float]:
    """Read the numbers of the step of an incident; raises Unreadable."""
    path = folder / SIGNALS
    lines = list(untrusted.read_lines(path, within=folder))
    if not lines:
        raise Unreadable(path, "is empty")
    record = untrusted.parse_json(lines[-1], path)
    if not isinstance(record, dict):
        raise Unreadable(path, "ends with a line that is no record of a step")
    try:
        return {name: float(NOT_FINITE.get(value, value)) for name, value in record.items()}
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(path, "ends with a line that holds something other than numbers") from None


def _there(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if run_dir.is_step(path.name)] if folder.is_dir() else []


@contextmanager
def _before(run: Run, step: int, scale: float) -> Iterator[None]:
    """The count of steps and the loss scale as they were before the step, while it lasts."""
    state = run.state
    changed = [state.step, *([state.loss_scale.value] if state.loss_scale else [])]
    after = [variable.numpy() for variable in changed]
    for variable, value in zip(changed, (step - 1, scale), strict=False):
        variable.assign(value)
    try:
        yield
    finally:
        for variable, value in zip(changed, after, strict=True):
            variable.assign(value)
