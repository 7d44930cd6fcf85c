"""The plots of a run: when each is drawn, and what it shows of the run."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tftrain.config.component import Component
from tftrain.config.error_context import error_context
from tftrain.core.background import BackgroundWriter
from tftrain.core.callback import Callback
from tftrain.core.schedule import Trigger
from tftrain.core.state import TrainState
from tftrain.core.types import (
    GradientMethod,
    LogData,
    Objective,
    Observer,
    Picture,
    PlotContext,
    Stop,
    Transform,
)
from tftrain.data.loader import Data
from tftrain.reporting.metrics_file import read_metrics
from tftrain.reporting.plots.style import to_pixels
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.runtime.run_dir import METRICS, safe_name
from tftrain.trainer.plot_context import PlotContextFactory
from tftrain.trainer.signals import StopRequested

TAG_GROUP = "pictures"  # of the tags in TensorBoard
DEFAULT_PLOTS = 8  # after the start, where the config does not say when
MIN_EXAMPLES = 1000  # that plots are made of, where the split has as many
NEVER = sys.maxsize


class ScheduledPlot(NamedTuple):
    """A plot of a run.

    Args:
        name: safe as part of a file's name.
        component: that of the config.
        draw: makes the figure.
        next_step: the next step, after a given one, at which it is drawn; 0 is before the first.
        at_end: whether it is drawn at the end of the run, whenever that is.
    """

    name: str
    component: Component
    draw: Picture
    next_step: Trigger
    at_end: bool


class Plots(NamedTuple):
    """The plots of a run, and what they are drawn from; None where there are none."""

    scheduled: list[ScheduledPlot]
    contexts: PlotContextFactory | None


class PlotCallback(Callback):
    """Draws the plots of a run where they are due.

    Args:
        plots: those of the config.
        folder: that of the run.
        writer: it must have written everything before plots read the curves.
        observers: called with the images.
    """

    phase = "pictures"

    def __init__(
        self,
        plots: Plots,
        folder: Path,
        writer: BackgroundWriter,
        observers: Sequence[Observer],
    ):
        self._plots = plots.scheduled
        self._contexts = plots.contexts
        self._folder = folder
        self._writer = writer
        self._observers = observers
        self._last_step = -1  # at which something was drawn

    def on_train_begin(self, step: int) -> None:
        """Draw the plots of the untrained model."""
        if step == 0:
            self.on_plot(step)

    def on_plot(self, step: int) -> None:
        """Draw the plots that are due at a step."""
        due = [plot for plot in self._plots if plot.next_step(step - 1) == step]
        self._draw_plots(step, due)

    def on_train_end(self, step: int, reason: Stop | None) -> None:
        """Draw the plots of the end where the run ends early; one that a signal ends will be resumed.

        Args:
            step: the number of the last step.
            reason: why the run ends early; None where it does not.
        """
        if reason is None or isinstance(reason, StopRequested):
            return
        if step != self._last_step:
            due = [
                plot
                for plot in self._plots
                if plot.at_end or plot.next_step(step - 1) == step
            ]
            self._draw_plots(step, due)

    def _draw_plots(self, step: int, due: Sequence[ScheduledPlot]) -> None:
        """Draw plots; one that can no longer be drawn is reported, and the run goes on without it."""
        self._writer.drain()
        if not due:
            return
        self._last_step = step
        context = self._contexts.at(
            step, lambda: read_metrics(self._folder / METRICS)
        )
        images = {}
        for plot in due:
            try:
                image = draw_plot(plot, context)
            except (InputError, UserCodeError) as error:
                warnings.warn(
                    f"{error}\nthis plot is disabled for the rest of the run",
                    stacklevel=2,
                )
                self._plots.remove(plot)
                continue
            if image is not None:
                images[f"{TAG_GROUP}/{plot.name}"] = image
        if images:
            for observer in self._observers:
                observer(step, LogData(images=images))
                if hasattr(observer, "flush"):
                    observer.flush()


def prepare_plots(
    components: Sequence[Component],
    total_steps: int,
    objective: Objective,
    method: GradientMethod,
    transform: Transform,
    state: TrainState,
    data: Data,
    strategy: Any,
) -> Plots:
    """Return the plots of a config; each is drawn once, so that one that cannot be drawn is reported before training.

    Args:
        components: those of the config.
        total_steps: of the run.
        objective: the model and its loss.
        method: computes the gradients.
        transform: changes them, such as a clip.
        state: all variables of the run.
        data: the splits.
        strategy: a tf.distribute.Strategy, or None.

    Raises:
        InputError, UserCodeError: a plot cannot be drawn.
    """
    if not components:
        return Plots([], None)
    source = data.train
    scheduled = [
        _schedule_plot(name, component, total_steps, source.steps_per_epoch)
        for name, component in zip(
            _unique_names(components), components, strict=True
        )
    ]
    batch_size = -(-source.examples // source.steps_per_epoch)
    batches = -(-MIN_EXAMPLES // batch_size)
    contexts = PlotContextFactory(
        objective,
        method,
        transform,
        state,
        source,
        data.facts,
        strategy,
        batches,
    )
    context = contexts.at(0, dict)
    for plot in scheduled:
        draw_plot(plot, context)
    return Plots(scheduled, contexts)


def first_due(plots: Sequence[ScheduledPlot]) -> Trigger:
    """Return when the next of several plots is due."""
    return lambda step: min(
        (plot.next_step(step) for plot in plots), default=NEVER
    )


def draw_plot(plot: ScheduledPlot, context: PlotContext) -> np.ndarray | None:
    """Return a plot as pixels, uint8 [height, width, channels]; None while there is nothing to show.

    Args:
        plot: which.
        context: the run at a step.

    Raises:
        InputError, UserCodeError: it cannot be drawn.
    """
    with error_context(plot.component, plot.component.path):
        figure = plot.draw(context)
        return None if figure is None else to_pixels(figure)


def _unique_names(components: Sequence[Component]) -> list[str]:
    names: list[str] = []
    for component in components:
        base = safe_name(component.name.rpartition(":")[2])
        candidates = itertools.chain(
            [base], (f"{base}_{number}" for number in itertools.count(2))
        )
        names.append(next(name for name in candidates if name not in names))
    return names


def _schedule_plot(
    name: str, component: Component, total_steps: int, steps_per_epoch: int
) -> ScheduledPlot:
    timed = component.with_steps(steps_per_epoch)
    with error_context(component, component.path):
        draw = component.build()
    at = timed.option("at")
    if at is not None:
        # A step after the end is the end.
        steps = sorted({min(step, total_steps) for step in at})
        return ScheduledPlot(
            name, component, draw, _next_of(steps), total_steps in steps
        )
    period = timed.option("every") or max(1, -(-total_steps // DEFAULT_PLOTS))
    return ScheduledPlot(
        name, component, draw, _next_multiple(period, total_steps), True
    )


def _next_of(steps: Sequence[int]) -> Trigger:
    return lambda step: next((item for item in steps if item > step), NEVER)


def _next_multiple(period: int, last: int) -> Callable[[int], int]:
    """Return a trigger at step 0, at each multiple of a period, and at the last step."""

    def next_after(step: int) -> int:
        if step < 0:
            return 0
        return min((step // period + 1) * period, last)

    return next_after
