"""What writes a run down: its curves, TensorBoard's files, and the terminal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from tftrain import run_folder
from tftrain.core.parameters import parameter_names
from tftrain.dump import dump
from tftrain.observers.console import Console, Course
from tftrain.observers.records import Records
from tftrain.observers.tensorboard import TensorBoard, fenced_yaml
from tftrain.values import in_steps

if TYPE_CHECKING:
    from tftrain.assemble import Run


def recorders(run: Run, folder: Path, start: int) -> tuple[Records, TensorBoard, Console]:
    """Observers that only write, for a session that begins after step `start`."""
    log, epoch = run.config.log, run.data.train.steps_per_epoch
    metric = run.recipe.metrics[0].name if run.recipe.metrics else None
    report_every = None if log.console == "auto" else in_steps(log.console, epoch)
    texts = {"config": fenced_yaml(dump(run.config))}
    trained = run.state.model.trainable_variables
    sizes = {name: math.prod(one.shape) for name, one in zip(parameter_names(run.state.model), trained, strict=True)}
    graph = run.programs.graph() if log.graph and not start else None
    return (
        Records(folder / run_folder.METRICS, start),
        TensorBoard(folder, texts, graph, log.histogram_axis, start, sizes),
        Console(Course(run.total_steps, epoch, start), metric, report_every),
    )
