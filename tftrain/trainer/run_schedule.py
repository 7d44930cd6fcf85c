"""When what is wanted in a run: a config's times in steps, and how often where it says auto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tftrain.config.field_types import in_steps
from tftrain.config.schema import Training
from tftrain.core.schedule import (
    Schedule,
    Trigger,
    at_multiples,
    doubling_then_every,
    either,
    every,
    thinning,
)
from tftrain.core.types import View
from tftrain.trainer.callbacks import EarlyStopping

if TYPE_CHECKING:
    from tftrain.trainer.build import RunContext

SCALAR_POINTS = 250  # of every curve in a run, where the config says auto
HISTOGRAM_SETS = 50  # TensorBoard shows 51 at most
# Where a run may stop early: fewer than 1000 and 100 points at any number of steps up to a million.
OPEN_SCALARS, OPEN_HISTOGRAMS = 64, 5
WORKERS_STEPS_PER_CALL = 10
CHECKPOINTS = 20  # at most, where an epoch is short


def make_schedule(
    run: RunContext,
    views: tuple[tuple[Trigger, View], ...],
    pictures: Trigger | None,
    stopping: EarlyStopping | None,
) -> Schedule:
    """When what is wanted, in steps."""
    config, epoch, total = run.config, run.data.train.steps_per_epoch, run.total_steps

    def cadence(time: Any, auto: Trigger) -> Trigger | None:
        if time == "never":
            return None
        return auto if time == "auto" else every(in_steps(time, epoch))

    scalars, histograms = (
        every(max(1, total // SCALAR_POINTS)),
        doubling_then_every(max(1, total // HISTOGRAM_SETS)),
    )
    if config.training.early_stopping:
        scalars, histograms = thinning(OPEN_SCALARS), thinning(OPEN_HISTOGRAMS)
    if config.log.scalars != "auto":
        period = in_steps(config.log.scalars, epoch)
        histograms = doubling_then_every(max(1, total // period // HISTOGRAM_SETS))
        if config.training.early_stopping:
            histograms = thinning(OPEN_HISTOGRAMS)
        scalars, histograms = every(period), at_multiples(histograms, period)
    else:
        scalars = either(
            scalars, *(looks for looks, _ in views)
        )  # beside each validation
    if stopping is not None:
        watched = views[0][0] if stopping.best.monitor.startswith("val_") else scalars
        histograms = _and_where_it_may_end(histograms, watched, stopping)
    return Schedule(
        total_steps=total,
        scalars=scalars,
        histograms=cadence(config.log.histograms_every, histograms),
        views=views,
        pictures=pictures,
        checkpoints=cadence(
            config.checkpoint.every, every(max(epoch, total // CHECKPOINTS))
        ),
        steps_per_call=_steps_per_call(config.training),
        on_nonfinite=config.training.on_nonfinite,
        cuts=(config.log.profile[0] - 1, config.log.profile[1])
        if config.log.profile
        else (),
    )


def _and_where_it_may_end(
    cadence: Trigger, looks: Trigger, stopping: EarlyStopping
) -> Trigger:
    """So that the last step of a run that ends early is measured too; a call ends at each look."""
    return lambda step: (
        min(cadence(step), looks(step)) if stopping.may_be_next() else cadence(step)
    )


def _steps_per_call(training: Training) -> int | Literal["auto"]:
    if training.strategy == "multi_worker" and training.steps_per_call == "auto":
        return WORKERS_STEPS_PER_CALL  # auto goes by the clock, which the workers do not share
    return training.steps_per_call
