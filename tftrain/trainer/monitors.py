"""Who watches a scalar of a run: for the best checkpoint, to stop early, and for the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tftrain.config.error_context import InputError
from tftrain.config.rules import rate_monitors, unlogged
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import problem
from tftrain.trainer.keeper import Best, EarlyStopping


class Monitors(NamedTuple):
    """Who watches a scalar; None where nobody asked. `scalars` are all that is watched, also by the learning rate."""

    best: Best | None
    stopping: EarlyStopping | None
    scalars: tuple[str, ...] = ()

    def by_name(self) -> dict[str, Any]:
        owners = {"best": self.best, "stopping": self.stopping}
        return {name: owner for name, owner in owners.items() if owner is not None}


def monitors(config: Config, validated: bool, metrics: Sequence[str]) -> Monitors:
    """Who watches which scalar; raises InputError where it is one that will not be there.

    `validated` is whether there is a validation, `metrics` are the names of what is logged beside the loss.
    """
    best, stopping = config.checkpoint.best, config.training.early_stopping
    if best == "auto":
        best = "val_loss" if validated else None
    if config.checkpoint.restore_best and best is None:
        message = "given true, but there is no best checkpoint; name a scalar in checkpoint.best"
        raise _refused(config, "checkpoint.restore_best", message)
    watched = {"checkpoint.best": best, "training.early_stopping.monitor": stopping and stopping.monitor}
    watched |= rate_monitors(config.optimizer, "optimizer")
    for path, name in watched.items():
        missing = _missing(name, validated, metrics) if name is not None else None
        if missing:
            raise _refused(config, path, missing)
    return Monitors(
        Best(best, config.checkpoint.mode) if best else None,
        EarlyStopping(stopping.monitor, stopping.patience, stopping.min_delta, stopping.mode) if stopping else None,
        tuple(name for name in watched.values() if name is not None),
    )


def _missing(name: str, validated: bool, metrics: Sequence[str]) -> str | None:
    if name.startswith("val_") and not validated:
        return (
            f"'{name}' is asked for, but the data has no validation split; give data.validation a share such as 0.1, "
            "or watch 'loss'"
        )
    return unlogged(name, metrics)


def _refused(config: Config, path: str, message: str) -> InputError:
    return InputError(problem(config.place(path), path, message))
