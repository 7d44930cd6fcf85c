"""What writes a run down: its curves, TensorBoard's files, and the terminal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from tftrain.config.export import flat_hparams, to_yaml
from tftrain.config.field_types import in_steps
from tftrain.config.schema import Config
from tftrain.core.variables import parameter_names
from tftrain.reporting.console import Console, ProgressRange
from tftrain.reporting.metrics_file import MetricsFile
from tftrain.reporting.tensorboard.hparams import RunHparams, result_tags
from tftrain.reporting.tensorboard.logger import TensorBoardLogger, fenced_yaml
from tftrain.reporting.tensorboard.reservoirs import (
    HISTOGRAMS,
    IMAGES,
    SCALARS,
    Reservoirs,
)
from tftrain.reporting.tensorboard.summaries import (
    SummaryValue,
    custom_scalars_layout,
    keras_note,
    text_note,
)
from tftrain.runtime import run_dir
from tftrain.runtime.environment import describe_environment, to_markdown

if TYPE_CHECKING:
    from tftrain.trainer.build import RunContext

# TensorBoard's table of runs shows the first five settings until others are asked for.
LOOKED_FOR = (
    "optimizer.learning_rate",
    "optimizer",
    "data.batch_size",
    "gradients.clip",
    "gradients.clip.limit",
)


def make_loggers(
    run: RunContext, folder: Path, start: int, reservoirs: Reservoirs
) -> tuple[MetricsFile, TensorBoardLogger, Console]:
    """Observers that only write, for a session that begins after step `start`."""
    log, epoch = run.config.log, run.data.train.steps_per_epoch
    reservoirs.begin(start)
    metric = run.recipe.metrics[0].name if run.recipe.metrics else None
    report_every = None if log.console == "auto" else in_steps(log.console, epoch)
    trained = run.state.model.trainable_variables
    sizes = {
        name: math.prod(one.shape)
        for name, one in zip(parameter_names(run.state.model), trained, strict=True)
    }
    graph = run.programs.graph() if log.graph and not start else None
    return (
        MetricsFile(folder / run_dir.METRICS, start),
        TensorBoardLogger(folder, _notes(run), graph, start, sizes, reservoirs),
        Console(ProgressRange(run.total_steps, epoch, start), metric, report_every),
    )


def new_reservoirs(run: RunContext) -> Reservoirs:
    """Those of a run; how often there are points is left to the config where that says it, with a warning."""
    log, epoch, wished = run.config.log, run.data.train.steps_per_epoch, set()
    measured = (HISTOGRAMS, "histograms") if log.histograms else (SCALARS, "scalars")
    for kind, key, time, most, plugin in (
        ("training", "log.scalars", log.scalars, SCALARS, "scalars"),
        ("measured", "log.histograms_every", log.histograms_every, *measured),
    ):
        if time not in ("auto", "never"):
            wished.add(kind)
            points = run.total_steps // in_steps(time, epoch)
            if points > most:
                warnings.warn(
                    f"{key}: {time} makes some {points} points, of which TensorBoard shows {most}, taken by chance; "
                    f"tensorboard --samples_per_plugin {plugin}={points} shows all of them",
                    stacklevel=2,
                )
    _tell_pictures(run)
    return Reservoirs(
        run.total_steps,
        frozenset(wished),
        run.config.training.early_stopping is not None,
    )


def _tell_pictures(run: RunContext) -> None:
    total, epoch = run.total_steps, run.data.train.steps_per_epoch
    for part in run.config.log.pictures:
        every = part.with_steps(epoch).option("every")
        drawn = total // every + 1 if every else 0
        if drawn > IMAGES:
            warnings.warn(
                f"log.pictures: {part.name} is drawn some {drawn} times, of which TensorBoard shows {IMAGES}, taken by "
                f"chance; all are in pictures/, and tensorboard --samples_per_plugin images={drawn} shows them",
                stacklevel=2,
            )


def _notes(run: RunContext) -> list[SummaryValue]:
    """What TensorBoard shows of a run beside its curves."""
    config, model = run.config, run.state.model
    notes = [
        text_note("config", fenced_yaml(to_yaml(config))),
        text_note("environment", to_markdown(describe_environment())),
        custom_scalars_layout(),
    ]
    layers = _layers(model) if config.log.graph else None
    return notes if layers is None else [*notes, keras_note(layers)]


def _layers(model: keras.Model) -> str | None:
    """A model's layers as JSON; None where it has code of its own in their place."""
    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        return None
    try:
        return model.to_json()
    except Exception:  # of a layer of the user that cannot be described
        return None


def run_hparams(run: RunContext) -> RunHparams:
    """What the table of runs shows of one."""
    found = flat_hparams(run.config)
    return RunHparams(found, _told_first(run.config, found), _compared(run), LOOKED_FOR)


def _told_first(config: Config, names: Collection[str]) -> list[str]:
    """The settings that were changed on the command line, then those that one looks for, of this run or of others."""
    changed = [
        name
        for name, place in config.places.items()
        if not place.line and name in names
    ]
    return list(dict.fromkeys([*changed, *LOOKED_FOR]))[: len(LOOKED_FOR)]


def _compared(run: RunContext) -> list[str]:
    """The tags of the figures of the final table, those of the first metric before the loss, and of the gradient norm.

    The first is shown, of a split that this run has.
    """
    names = [*(metric.name for metric in run.recipe.metrics[:1]), "loss"]
    feeds = {
        "validation": run.data.validation,
        "test": run.data.test,
        "train": run.data.train,
    }
    splits = [split for split, feed in feeds.items() if feed is not None]
    return [*result_tags(names, splits), "Overview/log10_grad_norm"]
