"""Incident folders: a bad step, with all that is needed to repeat it."""

from __future__ import annotations

import shlex
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from tftrain.config.schema import Config
from tftrain.core.callback import Callback
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.metric_aggregator import PER_PARAMETER
from tftrain.core.state import TrainState
from tftrain.core.types import (
    BadStep,
    Batch,
    BatchSource,
    LogData,
    Objective,
    Observer,
    Rows,
)
from tftrain.core.variables import parameter_names
from tftrain.data.batches import map_leaves, named_leaves
from tftrain.diagnostics.fault import FaultReport, locate_fault, worst_gradients
from tftrain.diagnostics.layer_stats import TraceStats, summarize
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

# What lies in an incident's folder.
BATCH = "batch.npz"
STATE = "state"
SIGNALS = "signals.jsonl"
TEXT = "incident.txt"
MAX_INCIDENTS = 10  # folders in a run


class IncidentRecorder(Callback):
    """Writes a folder for each of the first steps that go wrong, with all that is needed to repeat the step.

    Args:
        folder: that of the run.
        config: its config.
        objective: the model and its loss.
        state: all variables of the run.
        source: the training batches.
        show_text: called with the step and the text for TensorBoard.
    """

    phase = "incidents"

    def __init__(
        self,
        folder: Path,
        config: Config,
        objective: Objective,
        state: TrainState,
        source: BatchSource,
        show_text: Observer,
    ):
        self._folder = folder / run_dir.INCIDENTS
        self._config = config
        self._objective = objective
        self._state = state
        self._source = source
        self._show_text = show_text
        self._last: Path | None = (
            None  # the folder of the last bad step, if it has one
        )

    def on_bad_step(self, bad_step: BadStep) -> None:
        """Write the folder of a bad step, unless there are MAX_INCIDENTS already.

        What fails here, such as a full disk, is less bad than what is reported: it is a warning.
        """
        self._last = None
        if len(_incident_folders(self._folder)) >= MAX_INCIDENTS:
            return
        folder = self._folder / f"{bad_step.step:08d}"
        try:
            text = self._write_folder(bad_step, folder)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(
                f"the incident of step {bad_step.step} could not be written: {reason}",
                stacklevel=2,
            )
            return
        self._last = folder
        texts = {f"incidents/{folder.name}": f"```\n{text}```\n"}
        self._show_text(bad_step.step, LogData(texts=texts))

    def pointer(self) -> str:
        """Return what to add to the message that ends a run: where the last bad step is described."""
        return f"; see {self._last / TEXT}" if self._last else ""

    def _write_folder(self, bad_step: BadStep, folder: Path) -> str:
        draft = draft_path(folder)
        batch = self._read_batch(bad_step.step)
        has_loss_scale = self._state.loss_scale is not None
        scale = (
            float(bad_step.rows["loss_scale"][-1]) if has_loss_scale else 1.0
        )
        try:
            make_folder(self._folder)
            sweep_drafts(self._folder)
            draft.mkdir()
            with _state_before(self._state, bad_step.step, scale):
                CheckpointManager(draft / STATE, self._state).save(
                    bad_step.step - 1
                )
                trace = passes(self._objective, batch, scale, self._state.carry)
            table = summarize(trace)
            fault = locate_fault(table, batch)
            text = incident_report(bad_step, fault, table, self._config, folder)
            with zip_clock():
                np.savez(draft / BATCH, **named_leaves(batch))
            names = parameter_names(self._state.model)
            lines = signal_lines(bad_step.rows, bad_step.step, names)
            (draft / SIGNALS).write_bytes(b"".join(map(to_json_line, lines)))
            write_text(draft / TEXT, text)
            if (
                folder.exists()
            ):  # of an earlier session, which came to the same step
                shutil.rmtree(folder)
            commit(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return text

    def _read_batch(self, step: int) -> Batch:
        handle = self._source.serve(step - 1, 1)
        return map_leaves(
            np.asarray, self._source.batch(handle, tf.constant(0))
        )


def signal_lines(
    rows: Rows, last_step: int, names: list[str]
) -> list[dict[str, float]]:
    """Return a dict of numbers for each step.

    Args:
        rows: the numbers of the steps by name, [steps] or [steps, parameters].
        last_step: the number of the last of them.
        names: those of the parameters.
    """
    columns = {
        "step": np.arange(last_step - len(rows["finite"]) + 1, last_step + 1)
    }
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
    """Read the batch of an incident.

    Args:
        folder: that of the incident.
        like: a batch of the same structure, types and shapes of an example.

    Raises:
        Unreadable: the file is damaged, or is of another structure.
    """
    expected = {
        name: ((None, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
        for name, spec in named_leaves(like).items()
    }
    arrays = read_npz(folder / BATCH, expected, root=folder)
    sizes = {array.shape[0] for array in arrays.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise Unreadable(
            folder / BATCH,
            "holds arrays of different numbers of examples, or of none",
        )
    values = iter([tf.constant(array) for array in arrays.values()])
    return map_leaves(lambda _: next(values), like)


def read_signals(folder: Path) -> dict[str, float]:
    """Read the numbers of an incident's step, by name.

    Raises:
        Unreadable: the file is damaged.
    """
    path = folder / SIGNALS
    lines = list(untrusted.read_lines(path, root=folder))
    if not lines:
        raise Unreadable(path, "is empty")
    record = untrusted.parse_json(lines[-1], path)
    if not isinstance(record, dict):
        raise Unreadable(path, "ends with a line that is no record of a step")
    try:
        return {
            name: float(NOT_FINITE.get(value, value))
            for name, value in record.items()
        }
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(
            path, "ends with a line that holds something other than numbers"
        ) from None


def _incident_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.glob("*") if run_dir.is_step(path.name)]


@contextmanager
def _state_before(state: TrainState, step: int, scale: float) -> Iterator[None]:
    """Set the count of steps and the loss scale to what they were before a step, during the block."""
    values = [(state.step, step - 1)]
    if state.loss_scale:
        values.append((state.loss_scale.value, scale))
    current = [(variable, variable.numpy()) for variable, _ in values]
    for variable, value in values:
        variable.assign(value)
    try:
        yield
    finally:
        for variable, value in current:
            variable.assign(value)


_LAST = 5  # steps whose numbers are shown
_GROWN = 100.0  # times the median of the norms before: the gradient explodes


def incident_report(
    bad_step: BadStep,
    fault: FaultReport,
    table: TraceStats,
    config: Config,
    folder: Path,
) -> str:
    """Return the text of an incident: what went wrong, where, what was before it, and what to try.

    Args:
        bad_step: the step, with the numbers of those before it.
        fault: the first values that were not finite.
        table: statistics of the layers' values and gradients in that step.
        config: that of the run.
        folder: that of the incident.
    """
    rows = {name: values[:-1] for name, values in bad_step.rows.items()}
    lines = [
        bad_step.message,
        time.strftime("%Y-%m-%d %H:%M:%S"),
        "",
        *fault.lines,
        "",
        "largest gradients:",
    ]
    lines += [f"  {line}" for line in worst_gradients(table)]
    if len(rows["loss"]):
        lines += ["", *_history_lines(rows)]
    lines += ["", "what to try:"]
    lines += [f"  - {line}" for line in _advice_lines(bad_step, fault, config)]
    lines += ["", f"repeat this step: {replay_command(folder)}", ""]
    return "\n".join(lines)


def replay_command(folder: Path) -> str:
    """Return the shell command that repeats the step of an incident."""
    return f"python -m tftrain replay {shlex.quote(str(folder))}"


def _history_lines(rows: Rows) -> list[str]:
    """Return the course of loss and gradient norms over the steps before."""
    steps = len(rows["loss"])
    lines = [f"the {steps} steps before:" if steps > 1 else "the step before:"]
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
        lines.append(
            f"  {label}: median {np.median(rows[name]):.3g}, last {last}"
        )
    return lines


def _advice_lines(
    bad_step: BadStep, fault: FaultReport, config: Config
) -> list[str]:
    advice = []
    if fault.data:
        advice.append(
            "look at the data and its preprocessing; training.on_bad_step: skip leaves such batches out"
        )
    if fault.weights:
        advice.append(
            "the weights were spoiled before this step: start again, or from an earlier checkpoint"
        )
    if fault.own:
        advice.append(
            f"look in {fault.own} for log(0), sqrt(0) and its slope, x / 0, exp of large numbers"
        )
    if fault.data or fault.weights:
        return advice
    norms = bad_step.rows["grad_norm"]
    previous_norms = norms[:-1]
    finite_norms = previous_norms[np.isfinite(previous_norms)]
    usual = float(np.median(finite_norms)) if finite_norms.size else 1.0
    if not fault.own or _is_exploding(norms, usual):
        advice.append(_clip_advice(usual, config))
        rate = bad_step.rows["learning_rate"][-1]
        advice.append(
            f"a lower optimizer.learning_rate; at this step it was {rate:.3g}"
        )
    if config.training.precision == "mixed_float16":
        advice.append(
            "training.precision: mixed_bfloat16, whose range is that of float32; or float32"
        )
    return advice


def _is_exploding(norms: np.ndarray, usual: float) -> bool:
    finite = norms[np.isfinite(norms)]
    return bool(finite.size) and finite.max() > _GROWN * usual


def _clip_advice(usual: float, config: Config) -> str:
    if config.gradients.clip:
        return "a lower limit in gradients.clip"
    limit = min(max(usual, 1e-3), 1.0)
    return f"clip the gradients: gradients: {{clip: {{name: global_norm, limit: {limit:.1g}}}}}"
