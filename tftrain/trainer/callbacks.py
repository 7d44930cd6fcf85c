"""Who is told of a run while it goes on: the files, the terminal, and those who have a say in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tftrain.core.background import Aside
from tftrain.core.core_variables import read, write
from tftrain.core.sinks import Sinks
from tftrain.core.skips import Skips
from tftrain.core.timing import Ledger
from tftrain.core.types import Observer, Signals
from tftrain.reporting.console import Console
from tftrain.reporting.metrics_file import history
from tftrain.reporting.plots.files import Pictures
from tftrain.reporting.tensorboard.logger import TensorBoard
from tftrain.reporting.tensorboard.profiler import Profile
from tftrain.runtime import run_dir
from tftrain.trainer.keeper import Keeper

if TYPE_CHECKING:
    from tftrain.core.trouble import Trouble
    from tftrain.trainer.build import Run
    from tftrain.trainer.checkpointing import Memory
    from tftrain.trainer.incidents import Incidents
    from tftrain.trainer.monitors import Monitors
    from tftrain.trainer.plotting import Gallery


class Audience:
    """Owns what a session writes while it trains: the `files` are observers that only write."""

    def __init__(self, run: Run, files: Sequence[Observer], monitored: Monitors, memory: Memory, incidents: Incidents):
        self._run, self._files, self._monitored, self._memory = run, files, monitored, memory
        self._incidents = incidents
        self._boards = [one for one in files if isinstance(one, TensorBoard)]

    @contextmanager
    def sinks(self, folder: Path, skips: Skips, ledger: Ledger, each_point: bool, gallery: Gallery) -> Iterator[Sinks]:
        """Everyone who is told, of `each_point` before another step is taken; what writes is closed at the end."""
        written = Aside(self._files)
        with ExitStack() as ending:
            ending.callback(ledger.timed("writing", written.close))
            heard = [skips.add, *(one.on_call for one in self._files if isinstance(one, Console))]
            if self._files and self._run.config.log.profile:
                profile = Profile(folder, *self._run.config.log.profile)
                ending.callback(profile.close)
                heard.append(ledger.timed("profile", profile.on_call))
                heard[-1](self._memory.start)
            yield Sinks(
                self._watchers(written),
                on_call=lambda step, row: [tell(step, row) for tell in heard],
                save=self._saving(written, ledger),
                draw=self._drawing(written, folder, gallery, ledger),
                record=written,
                on_trouble=ledger.timed("incidents", self._noting(written, skips)),
                each_point=each_point,
                ledger=ledger,
            )

    def _saving(self, written: Aside, ledger: Ledger) -> Callable[[int], None]:
        def save(step: int) -> None:
            with ledger.timing("writing"):  # a run that goes on from here has all points up to here
                written.drain()
                for sync in [one.sync for one in self._files if hasattr(one, "sync")]:
                    sync()
            self._memory.save(step)

        return save

    def _drawing(self, written: Aside, folder: Path, gallery: Gallery, ledger: Ledger) -> Callable[..., None]:
        shown = [*self._boards, Pictures(folder / run_dir.PICTURES)]

        def draw(step: int, last: bool = False) -> None:
            written.drain()  # pictures show the curves so far, and the files are that thread's
            found = gallery.draw(step, lambda: history(folder / run_dir.METRICS), last)
            if found.images:
                for observer in shown:
                    observer(step, found)
                for board in self._boards:
                    board.flush()

        return ledger.timed("pictures", draw) if self._files else lambda step, last=False: None

    def _noting(self, written: Aside, skips: Skips) -> Callable[[Trouble], None]:
        def note(trouble: Trouble) -> None:
            skips.lose(trouble.step, trouble.kind == "spike")
            found = self._incidents.add(trouble)
            if found.texts:
                written.drain()  # the files are that thread's
                for board in self._boards:
                    board(trouble.step, found)

        return note

    def _watchers(self, written: Aside) -> list[Observer]:
        best, stopping, _ = self._monitored
        heeding = [self._heed] if self._run.recipe.rate.heed else []

        def keep(step: int) -> None:
            written.drain()  # what is remembered of the points is of all up to here
            self._memory.save_best(step)

        keeping = [Keeper(keep, best)] if best else []
        return [*heeding, *keeping, *([stopping] if stopping else [])]

    def _heed(self, step: int, signals: Signals) -> None:
        """Lets the rate see what was logged."""
        held = self._run.state.rate
        write(held, self._run.recipe.rate.heed(read(held), signals.scalars))
