"""What hangs on the training loop: callbacks, and when each of their methods is called.

    on_train_begin(step)
    while there are steps left:
        [a call of the compiled steps: one step or many]
        on_call_end(step, row)                     the row has the numbers of the call's last step
        if the last step went wrong:
            on_bad_step(bad_step)                  before anything is done about it
        [validation, where it is due]
        on_points(points)                          all logged points of the call at once
        on_log(step, data)                         each of them, in order
        on_plot(step)                              where a plot is due
        on_checkpoint(step)                        where a checkpoint is due
        should_stop()
    on_train_end(step, reason)
    close()                                        also after an error

`on_bad_step`, `on_log` and `should_stop` can end the run; all callbacks still see the step. Callbacks are called in the
order of their list, and closed in the reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tftrain.core.timing import PhaseTimer
from tftrain.core.types import BadStep, LogData, Points, Rows, Stop


class Callback:
    """Base class of what follows a run; every method does nothing unless it is overridden.

    Attributes:
        phase: the kind of work that the seconds of its methods are counted for; see `PhaseTimer`.
        needs_each_point: whether `on_log` must see each point before the next step is taken, because what it does then
            has an effect on training. Otherwise the points of a call may come together.
    """

    phase = "writing"
    needs_each_point = False

    def on_train_begin(self, step: int) -> None:
        """Called before the first step; `step` counts those taken in earlier sessions."""

    def on_call_end(self, step: int, row: Rows) -> None:
        """Called after each call of the compiled steps.

        Args:
            step: the number of the last step taken.
            row: its numbers by name: a scalar, or [parameters].
        """

    def on_bad_step(self, bad_step: BadStep) -> None:
        """Called after a step whose update was not applied, with everything as it was before that step.

        Only the count of steps and the loss scale have changed.

        Raises:
            Stop: to end the run.
        """

    def on_points(self, points: Points) -> None:
        """Called with all logged points of a call at once, before `on_log`; for callbacks that only write."""

    def on_log(self, step: int, data: LogData) -> None:
        """Called with each logged point.

        Args:
            step: the number of the step that the point is of.
            data: its scalars, histograms, images and texts.

        Raises:
            Stop: to end the run.
        """

    def on_plot(self, step: int) -> None:
        """Called where a plot is due."""

    def on_checkpoint(self, step: int) -> None:
        """Called where a checkpoint is due."""

    def should_stop(self) -> Stop | None:
        """Return the reason to end the run after this call, None to go on."""
        return None

    def on_train_end(self, step: int, reason: Stop | None) -> None:
        """Called after the last step; not called after an error.

        Args:
            step: its number.
            reason: why the run ends before its last scheduled step; None where it does not.
        """

    def close(self) -> None:
        """Called at the very end, also after an error."""


class LambdaCallback(Callback):
    """A callback made of functions, each passed under the name of a method of `Callback`."""

    def __init__(
        self,
        *,
        phase: str = "writing",
        needs_each_point: bool = False,
        **methods: Callable[..., Any],
    ):
        self.phase = phase
        self.needs_each_point = needs_each_point
        for name, function in methods.items():
            if not name.startswith("_") and callable(
                getattr(Callback, name, None)
            ):
                setattr(self, name, function)
            else:
                raise TypeError(f"Callback has no method '{name}'")


class CallbackList:
    """Calls callbacks in their order, and counts the seconds of each for its phase.

    Args:
        callbacks: those of a run.
        timer: the seconds by phase.
    """

    def __init__(self, callbacks: Sequence[Callback], timer: PhaseTimer):
        self._callbacks = callbacks
        self._timer = timer

    @property
    def needs_each_point(self) -> bool:
        """Whether one of them does."""
        return any(callback.needs_each_point for callback in self._callbacks)

    def on_train_begin(self, step: int) -> None:
        """Call `on_train_begin` of all."""
        self._call_all("on_train_begin", step)

    def on_call_end(self, step: int, row: Rows) -> None:
        """Call `on_call_end` of all.

        Args:
            step: the number of the last step taken.
            row: its numbers by name.
        """
        self._call_all("on_call_end", step, row)

    def on_bad_step(self, bad_step: BadStep) -> Stop | None:
        """Call `on_bad_step` of all; return the first reason to end the run."""
        return self._call_all("on_bad_step", bad_step)

    def on_points(self, points: Points) -> Stop | None:
        """Call `on_points` of all, then `on_log` for each point; return the first reason to end the run."""
        self._call_all("on_points", points)
        reason = None
        for step, data in points:
            stop = self._call_all("on_log", step, data)
            reason = reason or stop
        return reason

    def on_plot(self, step: int) -> None:
        """Call `on_plot` of all."""
        self._call_all("on_plot", step)

    def on_checkpoint(self, step: int) -> None:
        """Call `on_checkpoint` of all."""
        self._call_all("on_checkpoint", step)

    def should_stop(self) -> Stop | None:
        """Ask all whether the run should end; return the first reason."""
        reasons = [callback.should_stop() for callback in self._callbacks]
        return next((reason for reason in reasons if reason is not None), None)

    def on_train_end(self, step: int, reason: Stop | None) -> None:
        """Call `on_train_end` of all.

        Args:
            step: the number of the last step.
            reason: why the run ends before its last scheduled step; None where it does not.
        """
        self._call_all("on_train_end", step, reason)

    def _call_all(self, method: str, *arguments: Any) -> Stop | None:
        reason = None
        for callback in self._callbacks:
            if _overrides_method(callback, method):
                with self._timer.phase(callback.phase):
                    try:
                        getattr(callback, method)(*arguments)
                    except Stop as stop:
                        reason = reason or stop
        return reason


@contextmanager
def closing_callbacks(
    callbacks: Sequence[Callback], timer: PhaseTimer
) -> Iterator[None]:
    """Close callbacks at the end of the block, the last one first, whatever fails.

    Args:
        callbacks: those of a run.
        timer: counts the seconds that closing takes.
    """
    with ExitStack() as stack:
        for callback in callbacks:
            if _overrides_method(callback, "close"):
                stack.callback(timer.timed(callback.phase, callback.close))
        yield


def _overrides_method(callback: Callback, method: str) -> bool:
    bound = getattr(callback, method)
    return getattr(bound, "__func__", bound) is not getattr(Callback, method)
