"""The writers of a run: metrics.jsonl, TensorBoard's files and the terminal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import keras

from tftrain.config.export import flat_hparams, to_yaml
from tftrain.config.field_types import in_steps
from tftrain.config.schema import Config
from tftrain.core.variables import parameter_names
from tftrain.reporting.console import Console, ProgressRange
from tftrain.reporting.metrics_file import MetricsFile
from tftrain.reporting.tensorboard.hparams import RunHparams, result_tags
from tftrain.reporting.tensorboard.logger import TensorBoardLogger, fenced_yaml
from tftrain.reporting.tensorboard.summaries import (
    SummaryValue,
    custom_scalars_layout,
    keras_note,
    text_note,
)
from tftrain.runtime import run_dir
from tftrain.runtime.environment import describe_environment, to_markdown

# How many points of a tag TensorBoard shows; of more it takes some at random.
SHOWN_SCALARS = 1000
SHOWN_HISTOGRAMS = 100
SHOWN_IMAGES = 10
# TensorBoard's table of runs shows the first five settings until others are asked for.
LOOKED_FOR = (
    "optimizer.learning_rate",
    "optimizer",
    "data.batch_size",
    "gradients.clip",
    "gradients.clip.limit",
)


def make_loggers(
    folder: Path,
    start: int,
    config: Config,
    model: keras.Model,
    course: ProgressRange,
    metrics: Sequence[str],
    has_validation: bool,
    graph: Callable[[], Any],
) -> tuple[MetricsFile, TensorBoardLogger, Console]:
    """Return the writers of a session: called with (step, data), they write down all points.

    Args:
        folder: that of the run.
        start: the step that the session begins after.
        config: that of the run.
        model: it is described in TensorBoard.
        course: how many steps the run has.
        metrics: the names of its metrics.
        has_validation: whether the run has a validation split.
        graph: makes the GraphDef of the step.
    """
    warn_of_hidden_points(
        config, course.total_steps, course.steps_per_epoch, has_validation
    )
    trained = model.trainable_variables
    pairs = zip(parameter_names(model), trained, strict=True)
    sizes = {name: math.prod(variable.shape) for name, variable in pairs}
    shows_graph = config.log.graph and start == 0
    board = TensorBoardLogger(
        folder,
        _run_notes(config, model),
        graph() if shows_graph else None,
        start,
        sizes,
    )
    report_every = None
    if config.log.console != "auto":
        report_every = in_steps(config.log.console, course.steps_per_epoch)
    first_metric = metrics[0] if metrics else None
    console = Console(course, first_metric, report_every)
    return MetricsFile(folder / run_dir.METRICS, start), board, console


def warn_of_hidden_points(
    config: Config, total_steps: int, steps_per_epoch: int, has_validation: bool
) -> None:
    """Warn where the config asks for more points of a tag than TensorBoard shows.

    What the config does not say is planned to stay below these numbers.

    Args:
        config: that of the run.
        total_steps: of the run.
        steps_per_epoch: of the training split.
        has_validation: whether the run has a validation split.
    """
    log = config.log
    measured = "histograms" if log.histograms else "scalars"
    shown = {"scalars": SHOWN_SCALARS, "histograms": SHOWN_HISTOGRAMS}
    settings = [
        ("log.scalars", log.scalars, "scalars"),
        ("log.histograms_every", log.histograms_every, measured),
    ]
    if has_validation:
        validate_every = config.training.validate_every
        settings.append(("training.validate_every", validate_every, "scalars"))
    for key, time, plugin in settings:
        if time in ("auto", "never"):
            continue
        points = total_steps // in_steps(time, steps_per_epoch)
        if points > shown[plugin]:
            warnings.warn(
                f"{key}: {time} makes some {points} points, of which TensorBoard shows {shown[plugin]}, taken at "
                f"random; tensorboard --samples_per_plugin {plugin}={points} shows all of them",
                stacklevel=2,
            )
    for component in log.plots:
        period = component.with_steps(steps_per_epoch).option("every")
        count = total_steps // period + 1 if period else 0
        if count > SHOWN_IMAGES:
            warnings.warn(
                f"log.plots: {component.name} is drawn some {count} times, of which TensorBoard shows "
                f"{SHOWN_IMAGES}, taken at random; all are in pictures/, and tensorboard "
                f"--samples_per_plugin images={count} shows them",
                stacklevel=2,
            )


def _run_notes(config: Config, model: keras.Model) -> list[SummaryValue]:
    """Return what TensorBoard shows of a run beside its curves."""
    notes = [
        text_note("config", fenced_yaml(to_yaml(config))),
        text_note("environment", to_markdown(describe_environment())),
        custom_scalars_layout(),
    ]
    layers = _model_json(model) if config.log.graph else None
    if layers is not None:
        notes.append(keras_note(layers))
    return notes


def _model_json(model: keras.Model) -> str | None:
    """Return a model's layers as JSON; None for a model with code of its own."""
    if (
        not isinstance(model, keras.Sequential)
        and type(model).__name__ != "Functional"
    ):
        return None
    try:
        return model.to_json()
    except Exception:  # of a layer of the user that cannot be described
        return None


def run_hparams(
    config: Config, metrics: Sequence[str], splits: Sequence[str]
) -> RunHparams:
    """Return what the table of runs shows of a run.

    Args:
        config: that of the run.
        metrics: the names of its metrics.
        splits: those that the run has, the one that matters most first.
    """
    settings = flat_hparams(config)
    # The tags of the final table, the first metric before the loss, and of the gradient norm; the first is shown.
    tags = result_tags([*metrics[:1], "loss"], splits)
    return RunHparams(
        settings,
        _first_settings(config, settings),
        [*tags, "Overview/log10_grad_norm"],
        LOOKED_FOR,
    )


def _first_settings(config: Config, names: Collection[str]) -> list[str]:
    """Return the settings changed on the command line, then those that are usually compared."""
    changed = [
        name
        for name, place in config.places.items()
        if not place.line and name in names
    ]
    return list(dict.fromkeys([*changed, *LOOKED_FOR]))[: len(LOOKED_FOR)]
