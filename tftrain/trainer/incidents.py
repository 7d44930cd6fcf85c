"""Incident folders: a step that went wrong, with all that is needed to repeat it."""

from __future__ import annotations

import shlex
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tftrain.core.bad_steps import BadStep
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.metric_aggregator import PER_PARAMETER, Rows
from tftrain.core.types import Batch, LogData
from tftrain.core.variables import parameter_names
from tftrain.data.batches import map_leaves, named_leaves
from tftrain.diagnostics.fault import FaultReport, locate_fault, worst_gradients
from tftrain.diagnostics.layer_stats import summarize
from tftrain.diagnostics.layer_trace import passes
from tftrain.reporting.metrics_file import NOT_FINITE, to_json_line
from tftrain.runtime import run_dir, untrusted
from tftrain.runtime.atomic_files import (
    commit,
    draft_path,
    make_folder,
    sweep_drafts,
    write_text,
)
from tftrain.runtime.npz import read_npz
from tftrain.runtime.untrusted import Unreadable
from tftrain.runtime.zip_clock import zip_clock

if TYPE_CHECKING:
    from tftrain.config.schema import Config
    from tftrain.core.bad_steps import BadStep
    from tftrain.core.metric_aggregator import Rows
    from tftrain.diagnostics.layer_stats import TraceStats
    from tftrain.trainer.build import RunContext


BATCH, STATE, SIGNALS, TEXT = "batch.npz", "state", "signals.jsonl", "incident.txt"
MOST = 10  # folders in a run


class Incidents:
    """Owns the incident folders of a run; only the first steps that go wrong get one, and Skips counts all of them."""

    def __init__(self, run: RunContext, folder: Path):
        self._run, self._folder = run, folder / run_dir.INCIDENTS
        self.last: Path | None = (
            None  # the folder of the last step that went wrong, where it has one
        )

    def add(self, trouble: BadStep) -> LogData:
        """Write down a step that went wrong, and give the text for TensorBoard.

        Nothing that fails here, such as a full disk, is worse than what is being told: it is a warning.
        """
        self.last = None
        if len(_there(self._folder)) >= MOST:
            return LogData()
        final = self._folder / f"{trouble.step:08d}"
        try:
            text = self._write(trouble, final)
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(
                f"the incident of step {trouble.step} could not be written: {why}",
                stacklevel=2,
            )
            return LogData()
        self.last = final
        return LogData(texts={f"incidents/{final.name}": f"```\n{text}```\n"})

    def remark(self) -> str:
        """What to add to the line that ends a run."""
        return f"; see {self.last / TEXT}" if self.last else ""

    def _write(self, trouble: BadStep, final: Path) -> str:
        run, feed, making = self._run, self._run.data.train, draft_path(final)
        batch = map_leaves(
            np.asarray, feed.batch(feed.serve(trouble.step - 1, 1), tf.constant(0))
        )
        scale = float(trouble.rows["loss_scale"][-1]) if run.state.loss_scale else 1.0
        try:
            make_folder(self._folder)
            sweep_drafts(self._folder)
            making.mkdir()
            with _before(run, trouble.step, scale):
                CheckpointManager(making / STATE, run.state).save(trouble.step - 1)
                table = summarize(passes(run.objective, batch, scale, run.state.carry))
            text = incident_report(
                trouble, locate_fault(table, batch), table, run.config, final
            )
            with zip_clock():
                np.savez(making / BATCH, **named_leaves(batch))
            lines = signal_lines(
                trouble.rows, trouble.step, parameter_names(run.state.model)
            )
            (making / SIGNALS).write_bytes(b"".join(map(to_json_line, lines)))
            write_text(making / TEXT, text)
            if final.exists():  # of a session before, which came to the same step
                shutil.rmtree(final)
            commit(making, final)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return text


def signal_lines(
    rows: Rows, last_step: int, names: list[str]
) -> list[dict[str, float]]:
    """The rows of steps up to `last_step`, a dict of numbers for each."""
    columns = {"step": np.arange(last_step - len(rows["finite"]) + 1, last_step + 1)}
    for key, values in rows.items():
        if key in PER_PARAMETER:
            columns |= {
                f"{PER_PARAMETER[key]}/{name}": values[:, place]
                for place, name in enumerate(names)
            }
        else:
            columns[key] = values
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def read_batch(folder: Path, like: Batch) -> Batch:
    """Read the batch of an incident, with the parts, shapes and types of `like`; raises Unreadable."""
    expected = {
        name: ((None, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
        for name, spec in named_leaves(like).items()
    }
    arrays = read_npz(folder / BATCH, expected, root=folder)
    sizes = {array.shape[0] for array in arrays.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise Unreadable(
            folder / BATCH, "holds arrays of different numbers of examples, or of none"
        )
    values = iter([tf.constant(array) for array in arrays.values()])
    return map_leaves(lambda _: next(values), like)


def read_signals(folder: Path) -> dict[str, float]:
    """Read the numbers of the step of an incident; raises Unreadable."""
    path = folder / SIGNALS
    lines = list(untrusted.read_lines(path, root=folder))
    if not lines:
        raise Unreadable(path, "is empty")
    record = untrusted.parse_json(lines[-1], path)
    if not isinstance(record, dict):
        raise Unreadable(path, "ends with a line that is no record of a step")
    try:
        return {
            name: float(NOT_FINITE.get(value, value)) for name, value in record.items()
        }
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(
            path, "ends with a line that holds something other than numbers"
        ) from None


def _there(folder: Path) -> list[Path]:
    return (
        [path for path in folder.glob("*") if run_dir.is_step(path.name)]
        if folder.is_dir()
        else []
    )


@contextmanager
def _before(run: RunContext, step: int, scale: float) -> Iterator[None]:
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


_LAST = 5  # steps whose numbers are shown
_GROWN = 100.0  # times the median of the norms before: the gradient explodes


def incident_report(
    trouble: BadStep,
    found: FaultReport,
    table: TraceStats,
    config: Config,
    folder: Path,
) -> str:
    rows = {name: values[:-1] for name, values in trouble.rows.items()}
    lines = [
        trouble.message,
        time.strftime("%Y-%m-%d %H:%M:%S"),
        "",
        *found.lines,
        "",
        "largest gradients:",
    ]
    lines += [f"  {line}" for line in worst_gradients(table)]
    if len(rows["loss"]):
        lines += ["", *_history(rows)]
    lines += [
        "",
        "what to try:",
        *(f"  - {line}" for line in _advice(trouble, found, config)),
    ]
    return "\n".join([*lines, "", f"repeat this step: {replay_command(folder)}", ""])


def replay_command(folder: Path) -> str:
    return f"python -m tftrain replay {shlex.quote(str(folder))}"


def _history(rows: Rows) -> list[str]:
    """The course of loss and gradient norm over the steps before."""
    steps = len(rows["loss"])
    said = [f"the {steps} steps before:" if steps > 1 else "the step before:"]
    for name, label in (
        ("loss", "loss"),
        ("grad_norm", "gradient norm"),
        ("clipped_grad_norm", "after clipping"),
    ):
        if name == "clipped_grad_norm" and np.array_equal(
            rows[name], rows["grad_norm"], equal_nan=True
        ):
            continue
        last = ", ".join(f"{value:.3g}" for value in rows[name][-_LAST:])
        said.append(f"  {label}: median {np.median(rows[name]):.3g}, last {last}")
    return said


def _advice(trouble: BadStep, found: FaultReport, config: Config) -> list[str]:
    said = []
    if found.data:
        said.append(
            "look at the data and its preprocessing; training.on_nonfinite: skip leaves such batches out"
        )
    if found.weights:
        said.append(
            "the weights were spoiled before this step: start again, or from an earlier checkpoint"
        )
    if found.own:
        said.append(
            f"look in {found.own} for log(0), sqrt(0) and its slope, x / 0, exp of large numbers"
        )
    if found.data or found.weights:
        return said
    norms = trouble.rows["grad_norm"][:-1]
    usual = (
        float(np.median(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else 1.0
    )
    if not found.own or _exploding(trouble.rows["grad_norm"], usual):
        said.append(_clip_advice(usual, config))
        said.append(
            f"a lower optimizer.learning_rate; at this step it was {trouble.rows['learning_rate'][-1]:.3g}"
        )
    if config.training.precision == "mixed_float16":
        said.append(
            "training.precision: mixed_bfloat16, whose range is that of float32; or float32"
        )
    return said


def _exploding(norms: np.ndarray, usual: float) -> bool:
    finite = norms[np.isfinite(norms)]
    return bool(finite.size) and finite.max() > _GROWN * usual


def _clip_advice(usual: float, config: Config) -> str:
    if config.gradients.clip:
        return "a lower limit in gradients.clip"
    return f"clip the gradients: gradients: {{clip: {{name: global_norm, limit: {min(max(usual, 1e-3), 1.0):.1g}}}}}"
