"""A model as a table, and one batch on its way through it and back."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tftrain.config.error_context import error_context
from tftrain.config.schema import Config
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.variables import names_by_id, parameters
from tftrain.diagnostics.layer_stats import TraceStats, summarize
from tftrain.diagnostics.layer_trace import passes
from tftrain.diagnostics.tables import backward_text, forward_text, model_text
from tftrain.runtime import run_dir
from tftrain.runtime.errors import InputError
from tftrain.runtime.terminal import printable
from tftrain.trainer.build import build_run

_COLUMNS = ("layer", "kind", "output", "parameters", "trained")


def inspect_model(config: Config, trained: Path | None = None) -> str:
    """The model, and the forward and the backward pass of the next training batch, as text.

    The state is that of a run's start, or of the newest checkpoint in the folder of a run; raises InputError.
    """
    run = build_run(config)
    if trained is not None:
        _restore_checkpoint(
            CheckpointManager(trained / run_dir.CHECKPOINTS, run.state), trained
        )
    step, feed = int(run.state.step.numpy()), run.data.train
    with error_context(config.data.source, "data"):
        batch = feed.batch(feed.serve(step, 1), tf.constant(0))
    scale = (
        float(run.state.loss_scale.value.numpy())
        if run.state.loss_scale
        else 1.0
    )
    table = summarize(passes(run.objective, batch, scale, run.state.carry))
    head = f"step {step + 1}, a batch of {tf.nest.flatten(batch.x)[0].shape[0]}"
    return "\n".join(
        [
            _model_table(run.state.model, table),
            head,
            forward_text(table),
            backward_text(table),
        ]
    )


def _restore_checkpoint(checkpoints: CheckpointManager, trained: Path) -> None:
    try:
        step = checkpoints.restore_latest()
    except ValueError as error:
        raise InputError(f"cannot look at {trained}: {error}") from None
    if step is None:
        raise InputError(
            printable(f"cannot look at {trained}: it holds no checkpoint")
        )


def _model_table(model: object, table: TraceStats) -> str:
    """Each layer where it is first called, with the sizes of its parameters, and at the end all of them together."""
    names, counts, trained = names_by_id(model), {}, {}
    trained_ids = {id(variable) for variable in model.trainable_variables}
    for variable in parameters(model):
        row = table.layer_of(names[id(variable)])
        owner, size = (
            row.name if row else names[id(variable)],
            int(tf.size(variable.value)),
        )
        counts[owner] = counts.get(owner, 0) + size
        trained[owner] = trained.get(owner, 0) + (
            size if id(variable) in trained_ids else 0
        )
    rows = [
        (
            row.name,
            row.kind,
            _format_shape(row.shape),
            counts.pop(row.name, 0),
            trained.get(row.name, 0),
        )
        for row in table.layers
        if " (call" not in row.name
    ]
    rows += [
        (owner, "not called by itself", "", count, trained[owner])
        for owner, count in counts.items()
    ]
    total = sum(count for *_, count, _ in rows), sum(trained.values())
    return model_text([*rows, ("all", "", "", *total)], _COLUMNS)


def _format_shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['batch', *map(str, shape[1:])])}]"
