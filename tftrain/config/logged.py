"""The names under which a run logs scalars."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tftrain.config.protocols import ComponentLike
from tftrain.runtime.names import did_you_mean

# What every run logs beside its loss and its metrics.
LOGGED = (
    "learning_rate",
    "grad_norm",
    "grad_norm_max",
    "clipped_grad_norm",
    "clip_rate",
    "nonfinite_steps",
)
_TAKEN = (
    "loss",
    "epoch",
    "step",
    "wall_seconds",
    "step_ms",
    "loss_scale",
    "depth_ratio",
    "nonfinite_grads",
    *LOGGED,
)


def metric_labels(metrics: Sequence[ComponentLike]) -> list[str]:
    """The names under which metrics are logged, numbered where one before, or what every run logs, has it already.

    What begins with `val_` is of validation.
    """
    labels: list[str] = []
    for metric in metrics:
        label = metric.name.rpartition(":")[2]
        label = f"metric_{label}" if label.startswith("val_") else label
        numbered = itertools.chain(
            [label], (f"{label}_{number}" for number in itertools.count(2))
        )
        labels.append(
            next(name for name in numbered if name not in (*labels, *_TAKEN))
        )
    return labels


def unlogged_message(name: str, labels: Sequence[str]) -> str | None:
    """What is wrong with a scalar's name where it is not logged, beside metrics of these names."""
    scored = ["loss", *labels]
    known = [*scored, *(f"val_{label}" for label in scored), *LOGGED]
    if name.split("/")[0] in known:
        return None
    return f"given '{name}', which is not logged; expected one of {', '.join(known)}{did_you_mean(name, known)}"
