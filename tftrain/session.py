"""One session of a run: from its start, or its last checkpoint, to its end."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tftrain import run_folder, saving
from tftrain.assemble import Run, assemble, make_plan
from tftrain.check import check
from tftrain.cluster import is_chief
from tftrain.compose import compose
from tftrain.config import Config
from tftrain.core import replicas
from tftrain.core.aside import Aside
from tftrain.core.checkpoint import Checkpoints
from tftrain.core.evaluate import make_evaluation
from tftrain.core.failure import cause
from tftrain.core.ledger import Ledger
from tftrain.core.loop import Sinks, train
from tftrain.core.plan import every
from tftrain.core.skips import Skips
from tftrain.core.state import read, write
from tftrain.core.types import Feed, NotFinite, Signals, Stop
from tftrain.data.stream import StreamFeed
from tftrain.dump import changes, dump
from tftrain.errors import InputError, TrainingError
from tftrain.monitors import Monitors, monitors
from tftrain.observers.console import Console, print_results
from tftrain.observers.keeper import Keeper
from tftrain.observers.profile import Profile
from tftrain.observers.records import Series, history
from tftrain.recorders import recorders
from tftrain.rules import rate_monitors
from tftrain.strategy import peers_watched, scope
from tftrain.strict import ConfigError
from tftrain.time_spent import time_line
from tftrain.values import in_steps

Results = dict[str, dict[str, float]]  # by split: the loss and the metrics


class Result(NamedTuple):
    """What a run leaves: its curves, the trained model, the figures at the end, and its folder.

    `history["loss"]` is (steps, values), so that `plt.plot(*result.history["loss"])` draws it.
    """

    history: dict[str, Series]
    model: keras.Model
    results: Results
    folder: Path
    stopped: str | None  # why it ended before its last step, where it did
    failed: bool  # whether that was a NaN or an infinity


def run(config: Config, run_dir: Path | None = None, resume: bool = False) -> Result:
    """Train to the end, and write everything into the run's folder.

    Raises:
        InputError, UserCodeError: the config, the data or a user's part cannot be trained on.
        RunFolderError: the folder is another run's, or cannot be written.
        PeerLost: another worker is missing, or has gone.
    """
    with peers_watched(config.training.strategy):
        assembled = assemble(config)
        labels = [metric.name for metric in assembled.recipe.metrics]
        monitored = monitors(config, assembled.data.validation is not None, labels)
        if not is_chief(config.training.strategy):
            return _work(assembled, monitored, run_dir if resume else None)
        folder = run_folder.claim(run_dir, config.source, resume)
        session = Session(assembled, folder, monitored)
        if resume:
            _tell_changes(folder / run_folder.CONFIG, config)
            session.restore(folder)
        run_folder.write_text(folder / run_folder.CONFIG, dump(config))
        return session.run()


def _work(assembled: Run, monitored: Monitors, resumed: Path | None) -> Result:
    """The part of a worker that is not the chief: all that the chief does, with nothing left of it on the disk.

    Checkpoints are among it, because numbers that are spread over the workers can only be saved by all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = Session(assembled, Path(folder), monitored, chief=False)
        if resumed is not None:
            session.restore(resumed)
        return session.run()


def _tell_changes(saved: Path, config: Config) -> None:
    """Say what is not as it was when the run was last going on."""
    if not saved.is_file():
        return
    try:
        differences = changes(check(compose(saved), saved.stem), config)
    except ConfigError:  # written by another version, or by hand; the one given now is what counts
        differences = ["its saved config can no longer be read"]
    for line in differences:
        print(f"changed since the last session: {line}")


class Session:
    """Owns the files of a run while it goes on; only the chief of several workers has any but checkpoints."""

    def __init__(self, assembled: Run, folder: Path, monitored: Monitors, chief: bool = True):
        self._run, self._folder, self._monitored, self._chief = assembled, folder, monitored, chief
        self._checkpoints = Checkpoints(
            folder / run_folder.CHECKPOINTS, assembled.state, assembled.config.checkpoint.keep
        )
        self._validate = self._evaluation(assembled.data.validation)
        self._skips, self._ledger = Skips(), Ledger()
        self._start = 0
        self._saved: int | None = None  # the step of the last checkpoint

    def restore(self, folder: Path) -> None:
        """Go on from the last checkpoint in a run's folder, where there is one."""
        try:
            step = Checkpoints(folder / run_folder.CHECKPOINTS, self._run.state).restore_latest()
        except ValueError as error:
            raise InputError(f"cannot go on with {folder}: {error}") from None
        (first,) = replicas.of_first([step or 0], self._run.strategy)
        if first != (step or 0):
            raise InputError(f"cannot go on with {folder}: the chief is at step {first:.0f}, this worker sees {step}")
        if step is None:
            return
        self._start = self._saved = step
        remembered = json.loads(self._run.state.host.text)
        for name, owner in self._owners().items():
            if name in remembered:
                owner.restore(remembered[name])

    def run(self) -> Result:
        began = time.monotonic()
        with self._sinks() as sinks:
            ended = self._train(sinks)
        state, stopped = self._run.state, None if ended is None else str(ended)
        steps = int(state.step.numpy())
        if self._saved != steps:
            with self._ledger.timing("checkpoints"):
                self._save(steps)
        if self._run.config.checkpoint.restore_best:
            self._checkpoints.restore_best()
        if state.averages is not None:
            state.averages.swap()  # from here on the model is the averaged one
        if self._chief:
            saving.save(state.model, self._folder / run_folder.MODEL)
        curves = history(self._folder / run_folder.METRICS)
        results = self._results(curves)
        if self._chief:
            seconds, spent = time.monotonic() - began, self._ledger.spent()
            summary = {"steps": steps, "seconds": round(seconds, 3), "stopped": stopped, **results}
            summary["time"] = {kind: round(took, 3) for kind, took in spent.items()}
            run_folder.write_text(self._folder / run_folder.RESULTS, json.dumps(summary, indent=1) + "\n")
            remark = self._skips.remark(steps) if not isinstance(ended, NotFinite) else None
            if remark:
                warnings.warn(remark, stacklevel=2)
            streamed = isinstance(self._run.data.train, StreamFeed)
            spent_line = time_line(spent, self._run.config.data, streamed)
            print_results(results, self._folder, stopped, spent_line)
        return Result(curves, state.model, results, self._folder, stopped, isinstance(ended, NotFinite))

    def _train(self, sinks: Sinks) -> Stop | None:
        run = self._run
        views = ()
        if self._validate is not None:
            steps = in_steps(run.config.training.validate_every, run.data.train.steps_per_epoch)
            views = ((every(steps), self._look),)
        over = self._already_over()
        if over is not None:
            return over
        try:
            with scope(run.strategy):
                return train(run.programs, run.state, run.data.train, make_plan(run, views), sinks)
        except KeyboardInterrupt:
            if run.config.training.strategy != "multi_worker":  # there all would have to save, at the same step
                self._save(int(run.state.step.numpy()))
            raise
        except tf.errors.OpError as error:
            # A step's operations have no order among them, so the one that failed may be counted already.
            step, why = int(run.state.step.numpy()), cause(str(error))
            saved = f"the last checkpoint is of step {self._saved}" if self._saved else "there is no checkpoint yet"
            if run.config.training.jit_compile and "xla" in str(error).lower():  # memory, or a shape of its own
                why += "; training.jit_compile: false does without XLA"
            raise TrainingError(f"TensorFlow failed around step {step}: {why} ({saved})") from error

    def _already_over(self) -> Stop | None:
        """Why a run that is resumed has nothing left to do, where that is so."""
        stopping = self._monitored.stopping
        if self._start and stopping is not None and stopping.is_over():
            return Stop(stopping.reason())
        if self._start >= self._run.total_steps:
            print(f"nothing left to train: the run is at step {self._start} of {self._run.total_steps}")
        return None

    @contextmanager
    def _sinks(self) -> Iterator[Sinks]:
        """Everyone who is told; what writes is closed at the end, whatever happens."""
        files = recorders(self._run, self._folder, self._start) if self._chief else ()
        window = self._run.config.log.profile if self._chief else None
        self._written = Aside(files)
        with ExitStack() as ending:
            ending.callback(self._ledger.timed("writing", self._written.close))
            heard = [self._skips.add, *(one.on_call for one in files if isinstance(one, Console))]
            if window:
                profile = Profile(self._folder, *window)
                ending.callback(profile.close)
                heard.append(self._ledger.timed("profile", profile.on_call))
                heard[-1](self._start)
            yield Sinks(
                self._watchers(),
                on_call=lambda step, row: [tell(step, row) for tell in heard],
                save=self._save,
                record=self._written,
                each_point=self._each_point(),
                ledger=self._ledger,
            )

    def _each_point(self) -> bool:
        """Whether what is logged of training has a say in how it goes on."""
        scalars = self._monitored.scalars
        heeding = self._run.recipe.rate.heed is not None and not rate_monitors(self._run.config.optimizer, "optimizer")
        return heeding or any(not name.startswith("val_") for name in scalars)

    def _watchers(self) -> list:
        best, stopping, _ = self._monitored
        heeding = [self._heed] if self._run.recipe.rate.heed else []
        return [*heeding, *([Keeper(self._save_best, best)] if best else []), *([stopping] if stopping else [])]

    def _heed(self, step: int, signals: Signals) -> None:
        """Lets the rate see what was logged."""
        held = self._run.state.rate
        write(held, self._run.recipe.rate.heed(read(held), signals.scalars))

    def _look(self, step: int) -> Signals:
        """The view of the validation split, with the averaged weights where there are such."""
        averages = self._run.state.averages
        if averages is not None:
            averages.swap()
        try:
            found = self._validate()
        finally:
            if averages is not None:
                averages.swap()
        # Two workers may round in two ways, but must come to the same decisions.
        values = replicas.of_first(list(found.values()), self._run.strategy)
        return Signals({f"val_{name}": value for name, value in zip(found, values, strict=True)})

    def _evaluation(self, feed: Feed | None) -> Callable[[], dict[str, float]] | None:
        return make_evaluation(self._run.objective, self._run.new_metrics(), feed) if feed is not None else None

    def _save(self, step: int) -> None:
        with self._ledger.timing("writing"):  # a run that goes on from here has all points up to here
            self._written.drain()
        self._remember()
        self._checkpoints.save(step)
        self._saved = step

    def _save_best(self, step: int) -> None:
        self._remember()
        self._checkpoints.save_best(step)

    def _remember(self) -> None:
        remembered = {name: owner.state() for name, owner in self._owners().items()}
        self._run.state.host.text = json.dumps(remembered)

    def _owners(self) -> dict[str, Any]:
        return {"skips": self._skips, **self._monitored.by_name()}

    def _results(self, curves: dict[str, Series]) -> Results:
        """The last point of training, and the figures of the model as it is now over the other splits."""
        data, scored = self._run.data, ("loss", *(metric.name for metric in self._run.recipe.metrics))
        last = {name: float(curve.values[-1]) for name, curve in curves.items() if name.split("/")[0] in scored}
        found = {"train": last}
        if self._validate is not None:
            found["validation"] = self._validate()
        if data.test is not None:
            found["test"] = self._evaluation(data.test)()
        return found
