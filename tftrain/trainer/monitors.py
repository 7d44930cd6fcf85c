"""Which scalars a run watches."""

from __future__ import annotations

from collections.abc import Sequence

from tftrain.config.rules import rate_monitors, unlogged_message
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.runtime.errors import InputError
from tftrain.trainer.callbacks import BestTracker, EarlyStopping, Monitors


def make_monitors(
    config: Config, has_validation: bool, metrics: Sequence[str]
) -> Monitors:
    """Return what watches which scalar.

    Args:
        config: that of the run.
        has_validation: whether there is a validation split.
        metrics: the names of the metrics, which are logged beside the loss.

    Raises:
        InputError: a scalar that is watched will not be logged.
    """
    stopping = config.training.early_stopping
    best = config.checkpoint.best
    if best == "auto":
        best = "val_loss" if has_validation else None
    if config.checkpoint.restore_best and best is None:
        message = "given true, but there is no best checkpoint; name a scalar in checkpoint.best"
        raise _input_error(config, "checkpoint.restore_best", message)
    watched = {}
    if best is not None:
        watched["checkpoint.best"] = best
    if stopping is not None:
        watched["training.early_stopping.monitor"] = stopping.monitor
    of_rate = rate_monitors(config.optimizer, "optimizer")
    for path, name in (watched | of_rate).items():
        problem = _monitor_problem(name, has_validation, metrics)
        if problem:
            raise _input_error(config, path, problem)
    tracker = BestTracker(best, config.checkpoint.mode) if best else None
    early_stopping = None
    if stopping is not None:
        early_stopping = EarlyStopping(
            stopping.monitor,
            stopping.patience,
            stopping.min_delta,
            stopping.mode,
        )
    return Monitors(tracker, early_stopping, tuple(of_rate.values()))


def _monitor_problem(
    name: str, has_validation: bool, metrics: Sequence[str]
) -> str | None:
    if name.startswith("val_") and not has_validation:
        return (
            f"'{name}' is asked for, but the data has no validation split; give data.validation a share such as 0.1, "
            "or watch 'loss'"
        )
    return unlogged_message(name, metrics)


def _input_error(config: Config, path: str, message: str) -> InputError:
    return InputError(format_error(config.place(path), path, message))
