"""What an incident says to people: when, what, where it began, and what to try."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tftrain.diagnostics.fault import Blame, worst_gradients

if TYPE_CHECKING:
    from tftrain.config.schema import Config
    from tftrain.core.metric_aggregator import Rows
    from tftrain.core.trouble import Trouble
    from tftrain.diagnostics.layer_stats import PassTable

_LAST = 5  # steps whose numbers are shown
_GROWN = 100.0  # times the median of the norms before: the gradient explodes


def incident_text(trouble: Trouble, found: Blame, table: PassTable, config: Config, folder: Path) -> str:
    rows = {name: values[:-1] for name, values in trouble.rows.items()}
    lines = [trouble.message, time.strftime("%Y-%m-%d %H:%M:%S"), "", *found.lines, "", "largest gradients:"]
    lines += [f"  {line}" for line in worst_gradients(table)]
    if len(rows["loss"]):
        lines += ["", *_history(rows)]
    lines += ["", "what to try:", *(f"  - {line}" for line in _advice(trouble, found, config))]
    return "\n".join([*lines, "", f"repeat this step: {replay_command(folder)}", ""])


def replay_command(folder: Path) -> str:
    return f"python -m tftrain replay {shlex.quote(str(folder))}"


def _history(rows: Rows) -> list[str]:
    """The course of loss and gradient norm over the steps before."""
    steps = len(rows["loss"])
    said = [f"the {steps} steps before:" if steps > 1 else "the step before:"]
    for name, label in (("loss", "loss"), ("grad_norm", "gradient norm"), ("clipped_grad_norm", "after clipping")):
        if name == "clipped_grad_norm" and np.array_equal(rows[name], rows["grad_norm"], equal_nan=True):
            continue
        last = ", ".join(f"{value:.3g}" for value in rows[name][-_LAST:])
        said.append(f"  {label}: median {np.median(rows[name]):.3g}, last {last}")
    return said


def _advice(trouble: Trouble, found: Blame, config: Config) -> list[str]:
    said = []
    if found.data:
        said.append("look at the data and its preprocessing; training.on_nonfinite: skip leaves such batches out")
    if found.weights:
        said.append("the weights were spoiled before this step: start again, or from an earlier checkpoint")
    if found.own:
        said.append(f"look in {found.own} for log(0), sqrt(0) and its slope, x / 0, exp of large numbers")
    if found.data or found.weights:
        return said
    norms = trouble.rows["grad_norm"][:-1]
    usual = float(np.median(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else 1.0
    if not found.own or _exploding(trouble.rows["grad_norm"], usual):
        said.append(_clip_advice(usual, config))
        said.append(f"a lower optimizer.learning_rate; at this step it was {trouble.rows['learning_rate'][-1]:.3g}")
    if config.training.precision == "mixed_float16":
        said.append("training.precision: mixed_bfloat16, whose range is that of float32; or float32")
    return said


def _exploding(norms: np.ndarray, usual: float) -> bool:
    finite = norms[np.isfinite(norms)]
    return bool(finite.size) and finite.max() > _GROWN * usual


def _clip_advice(usual: float, config: Config) -> str:
    if config.gradients.clip:
        return "a lower limit in gradients.clip"
    return f"clip the gradients: gradients: {{clip: {{name: global_norm, limit: {min(max(usual, 1e-3), 1.0):.1g}}}}}"
