"""When points, validation, plots and checkpoints are due in a run: the config's times in steps."""

from __future__ import annotations

from typing import Literal

from tftrain.config.field_types import in_steps
from tftrain.config.schema import Config, Training
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

SCALAR_POINTS = 250  # of every curve in a run, where the config says auto
HISTOGRAM_SETS = 50  # TensorBoard shows 51 at most
# Where a run may stop early: fewer than 1000 and 100 points at any number of steps up to a million.
OPEN_SCALARS, OPEN_HISTOGRAMS = 64, 5
WORKERS_STEPS_PER_CALL = 10
CHECKPOINTS = 20  # at most, where an epoch is short


def make_schedule(
    config: Config,
    steps_per_epoch: int,
    total_steps: int,
    validate: View | None,
    pictures: Trigger | None,
    stopping: EarlyStopping | None,
) -> Schedule:
    """Return when everything is due in a run.

    Args:
        config: times in steps or epochs, or `auto`.
        steps_per_epoch: of the training split.
        total_steps: of the run.
        validate: what `training.validate_every` calls; None where there is no validation split.
        pictures: when plots are due.
        stopping: after each of its evaluations the run may end.
    """
    views = ()
    if validate is not None:
        period = in_steps(config.training.validate_every, steps_per_epoch)
        views = ((every(period), validate),)
    log = config.log
    may_end_early = config.training.early_stopping is not None
    if log.scalars != "auto":
        period = in_steps(log.scalars, steps_per_epoch)
        scalars = every(period)
        if may_end_early:
            histograms = thinning(OPEN_HISTOGRAMS)
        else:
            sets = max(1, total_steps // period // HISTOGRAM_SETS)
            histograms = doubling_then_every(sets)
        histograms = at_multiples(histograms, period)
    elif may_end_early:
        scalars = thinning(OPEN_SCALARS)
        histograms = thinning(OPEN_HISTOGRAMS)
    else:
        scalars = every(max(1, total_steps // SCALAR_POINTS))
        histograms = doubling_then_every(max(1, total_steps // HISTOGRAM_SETS))
    if log.scalars == "auto":
        # There is a point of the training curves with each validation.
        scalars = either(scalars, *(view_trigger for view_trigger, _ in views))
    if stopping is not None:
        is_validation = stopping.best.monitor.startswith("val_")
        evaluations = views[0][0] if is_validation else scalars
        histograms = _with_possible_ends(histograms, evaluations, stopping)

    def choose_trigger(time: int | str, auto: Trigger) -> Trigger | None:
        if time == "never":
            return None
        if time == "auto":
            return auto
        return every(in_steps(time, steps_per_epoch))

    checkpoint_steps = max(steps_per_epoch, total_steps // CHECKPOINTS)
    cuts = ()
    if log.profile:
        first, last = log.profile
        cuts = (first - 1, last)
    return Schedule(
        total_steps=total_steps,
        scalars=scalars,
        histograms=choose_trigger(log.histograms_every, histograms),
        views=views,
        pictures=pictures,
        checkpoints=choose_trigger(
            config.checkpoint.every, every(checkpoint_steps)
        ),
        steps_per_call=_steps_per_call(config.training),
        on_bad_step=config.training.on_bad_step,
        cuts=cuts,
    )


def _with_possible_ends(
    trigger: Trigger, evaluations: Trigger, stopping: EarlyStopping
) -> Trigger:
    """Return the trigger with each evaluation that may be the last, so that the last step of the run is measured too.

    A call ends at each evaluation.
    """

    def next_after(step: int) -> int:
        if stopping.may_be_next():
            return min(trigger(step), evaluations(step))
        return trigger(step)

    return next_after


def _steps_per_call(training: Training) -> int | Literal["auto"]:
    if (
        training.strategy == "multi_worker"
        and training.steps_per_call == "auto"
    ):
        return WORKERS_STEPS_PER_CALL  # auto goes by the clock, which the workers do not share
    return training.steps_per_call
