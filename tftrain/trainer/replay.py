"""Repeats the step of an incident, and shows it layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.config.schema import Config
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.schedule import POINT, Segment
from tftrain.core.types import Batch, BatchSource, Tensor, Tree
from tftrain.core.variables import parameter_names
from tftrain.data.batches import map_leaves
from tftrain.diagnostics.fault import locate_fault
from tftrain.diagnostics.layer_stats import summarize
from tftrain.diagnostics.layer_trace import passes
from tftrain.diagnostics.tables import backward_text, forward_text
from tftrain.runtime import run_dir, untrusted
from tftrain.runtime.distribution import strategy_scope
from tftrain.runtime.errors import InputError
from tftrain.runtime.terminal import printable
from tftrain.runtime.untrusted import Unreadable
from tftrain.trainer.build import RunContext, build_run
from tftrain.trainer.incidents import (
    BATCH,
    SIGNALS,
    STATE,
    read_batch,
    read_signals,
    signal_lines,
)

_SHOWN = 10  # numbers that differ
_OF_THE_HOST = (
    "step",
    "finite",
)  # not computed from the batch; what was applied goes by the steps before as well


class Replay(NamedTuple):
    """What a step came to again: text to print, and whether each number is the one that was recorded, to the bit."""

    text: str
    same: bool


def config_of(folder: Path) -> Path:
    """The config of the run that an incident folder lies in; raises InputError where it is none."""
    try:
        missing = [
            name
            for name in (BATCH, STATE, SIGNALS)
            if not untrusted.exists(folder / name)
        ]
        if missing or not run_dir.is_step(folder.name):
            lacks = (
                f"it holds no {missing[0]}"
                if missing
                else "its name is no step"
            )
            raise Unreadable(
                folder,
                f"is no incident folder ({lacks}); expected RUN/{run_dir.INCIDENTS}/STEP",
            )
        run = folder.absolute().parent.parent
        if not untrusted.is_file(run / run_dir.CONFIG):
            raise Unreadable(
                run, f"is no run folder, it holds no {run_dir.CONFIG}"
            )
        run_dir.refuse_foreign_entries(run)
    except Unreadable as error:
        raise InputError(str(error)) from None
    return run / run_dir.CONFIG


def replay_step(config: Config, folder: Path) -> Replay:
    """Repeat the step of an incident with the same graph; raises InputError where the config or the folder is bad."""
    run = build_run(config)
    try:
        batch, recorded = (
            read_batch(folder, _batch_spec(run.data.train)),
            read_signals(folder),
        )
        _restore_state(run, folder)
    except Unreadable as error:
        raise InputError(str(error)) from None
    scale = (
        float(run.state.loss_scale.value.numpy())
        if run.state.loss_scale
        else 1.0
    )
    table = summarize(passes(run.objective, batch, scale, run.state.carry))
    numbers_now = _repeat_step(run, batch)
    different = _find_differences(recorded, numbers_now)
    lines = [
        *locate_fault(table, map_leaves(np.asarray, batch)).lines,
        "",
        _verdict_line(numbers_now, different),
    ]
    return Replay(
        "\n".join([forward_text(table), backward_text(table), *lines]),
        not different,
    )


def _restore_state(run: RunContext, folder: Path) -> None:
    try:
        step = CheckpointManager(folder / STATE, run.state).restore_latest()
    except (ValueError, IndexError, tf.errors.OpError) as error:
        raise Unreadable(folder / STATE, f"cannot be read: {error}") from None
    if step != int(folder.name) - 1:
        raise Unreadable(
            folder / STATE,
            f"holds the state of step {step}; expected that of {int(folder.name) - 1}",
        )


def _repeat_step(run: RunContext, batch: Batch) -> dict[str, float]:
    """The numbers of the step."""
    feed = _OneBatch(batch, _batch_spec(run.data.train))
    with strategy_scope(run.strategy):
        steps_made = {
            "executor": run.compiled_steps.executor,
            "jit_compile": run.config.training.jit_compile,
        }
        compiled_steps = CompiledSteps(
            run.state, run.step_spec, feed, **steps_made
        )
        rows = compiled_steps.run(feed.serve(0, 1), [Segment(1, POINT)]).rows
    [line] = signal_lines(
        rows, int(run.state.step.numpy()), parameter_names(run.state.model)
    )
    return line


class _OneBatch:
    """A feed of a single batch, which is its own handle."""

    steps_per_epoch, prepared, in_order = 1, True, False

    def __init__(self, batch: Batch, spec: Batch):
        self._batch = batch
        self.signature = self._batch_parts(spec)
        self.examples = int(tf.nest.flatten(batch.x)[0].shape[0])

    def run_length(self, step: int) -> int:
        return 1

    def serve(self, step: int, count: int) -> Tree:
        return self._batch_parts(self._batch)

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        return Batch(**handle)

    def _batch_parts(self, batch: Batch) -> dict[str, Tree]:
        return {
            name: part
            for name, part in batch._asdict().items()
            if part is not None
        }


def _batch_spec(feed: BatchSource) -> Batch:
    """The shapes and types of a batch as the graph of the step knows them."""
    sample: list[Any] = []

    def look(handle: Tree) -> Tensor:
        sample.append(
            map_leaves(
                lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype),
                feed.batch(handle, tf.constant(0)),
            )
        )
        return tf.constant(0)

    tf.function(look, [feed.signature], autograph=False).get_concrete_function()
    return sample[0]


def _find_differences(
    recorded: Mapping[str, float], numbers_now: Mapping[str, float]
) -> list[str]:
    """What is not the same float32; numbers that only one of both has are different too."""
    names = [
        name
        for name in recorded.keys() | numbers_now.keys()
        if name not in _OF_THE_HOST
    ]
    pairs = {
        name: (recorded.get(name), numbers_now.get(name))
        for name in sorted(names)
    }
    return [
        f"{printable(name)}: recorded {_format_value(a)}, now {_format_value(b)}"
        for name, (a, b) in pairs.items()
        if _float_bits(a) != _float_bits(b)
    ]


def _float_bits(value: float | None) -> bytes | None:
    """Of all that is no number there is one kind here."""
    if value is None or value != value:
        return value if value is None else b"NaN"
    return np.float32(value).tobytes()


def _format_value(value: float | None) -> str:
    return "nothing" if value is None else f"{float(value):.9g}"


def _verdict_line(
    numbers_now: Mapping[str, float], different: list[str]
) -> str:
    head = f"loss {numbers_now['loss']:.9g}, gradient norm {numbers_now['grad_norm']:.9g}"
    if not different:
        return f"{head}: the same as recorded"
    others_differ = (
        [f"and {len(different) - _SHOWN} more"]
        if len(different) > _SHOWN
        else []
    )
    return "\n  ".join(
        [
            f"{head}: not the same as recorded",
            *different[:_SHOWN],
            *others_differ,
        ]
    )
