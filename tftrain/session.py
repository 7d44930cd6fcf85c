"""One session of a run: from its start, or its last checkpoint, to its end."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from pathlib import Path

import tensorflow as tf

from tftrain import durable, run_folder, saving
from tftrain.assemble import Run, assemble, make_plan
from tftrain.audience import Audience
from tftrain.check import check
from tftrain.cluster import is_chief
from tftrain.compose import compose
from tftrain.config import Config
from tftrain.core.failure import cause
from tftrain.core.ledger import Ledger
from tftrain.core.loop import train
from tftrain.core.plan import every
from tftrain.core.sinks import Sinks
from tftrain.core.skips import Skips
from tftrain.core.types import NotFinite, Stop
from tftrain.data.stream import StreamFeed
from tftrain.dump import changes, dump
from tftrain.errors import TrainingError
from tftrain.evaluations import Evaluations
from tftrain.memory import Memory
from tftrain.monitors import Monitors, monitors
from tftrain.observers.console import print_results
from tftrain.observers.records import history
from tftrain.recorders import recorders
from tftrain.results import Result, Results
from tftrain.rules import rate_monitors
from tftrain.strategy import peers_watched, scope
from tftrain.strict import ConfigError
from tftrain.time_spent import time_line
from tftrain.values import in_steps


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
        durable.write_text(folder / run_folder.CONFIG, dump(config))
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
    """Takes a run to its end; only the chief of several workers leaves anything but checkpoints."""

    def __init__(self, assembled: Run, folder: Path, monitored: Monitors, chief: bool = True):
        self._run, self._folder, self._monitored, self._chief = assembled, folder, monitored, chief
        self._skips, self._ledger = Skips(), Ledger()
        self._memory = Memory(assembled, folder, {"skips": self._skips, **monitored.by_name()})
        self._evaluations = Evaluations(assembled)

    def restore(self, folder: Path) -> None:
        """Go on from the last checkpoint in a run's folder, where there is one."""
        self._memory.restore(folder)

    def run(self) -> Result:
        began = time.monotonic()
        files = recorders(self._run, self._folder, self._memory.start) if self._chief else ()
        audience = Audience(self._run, files, self._monitored, self._memory)
        with audience.sinks(self._folder, self._skips, self._ledger, self._each_point()) as sinks:
            ended = self._train(sinks)
        state, stopped = self._run.state, None if ended is None else str(ended)
        steps = int(state.step.numpy())
        if self._memory.saved != steps:
            with self._ledger.timing("checkpoints"):
                self._memory.save(steps)
        if self._run.config.checkpoint.restore_best:
            self._memory.restore_best()
        if state.averages is not None:
            state.averages.swap()  # from here on the model is the averaged one
        if self._chief:
            saving.save(state.model, self._folder / run_folder.MODEL)
        curves = history(self._folder / run_folder.METRICS)
        results = self._evaluations.results(curves)
        if self._chief:
            remark = self._skips.remark(steps) if not isinstance(ended, NotFinite) else None
            self._tell(results, {"steps": steps, "seconds": time.monotonic() - began, "stopped": stopped}, remark)
        return Result(curves, state.model, results, self._folder, stopped, isinstance(ended, NotFinite))

    def _tell(self, results: Results, summary: dict, remark: str | None) -> None:
        """Write down and print what the run came to."""
        spent = self._ledger.spent()
        summary = summary | {"seconds": round(summary["seconds"], 3), **results}
        summary["time"] = {kind: round(took, 3) for kind, took in spent.items()}
        durable.write_text(self._folder / run_folder.RESULTS, json.dumps(summary, indent=1) + "\n")
        if remark:
            warnings.warn(remark, stacklevel=2)
        streamed = isinstance(self._run.data.train, StreamFeed)
        spent_line = time_line(spent, self._run.config.data, streamed)
        print_results(results, self._folder, summary["stopped"], spent_line)

    def _train(self, sinks: Sinks) -> Stop | None:
        run = self._run
        views = ()
        if self._evaluations.validated:
            steps = in_steps(run.config.training.validate_every, run.data.train.steps_per_epoch)
            views = ((every(steps), self._evaluations.look),)
        over = self._already_over()
        if over is not None:
            return over
        try:
            with scope(run.strategy):
                return train(run.programs, run.state, run.data.train, make_plan(run, views), sinks)
        except KeyboardInterrupt:
            if run.config.training.strategy != "multi_worker":  # there all would have to save, at the same step
                sinks.save(int(run.state.step.numpy()))
            raise
        except tf.errors.OpError as error:
            # A step's operations have no order among them, so the one that failed may be counted already.
            step, why, last = int(run.state.step.numpy()), cause(str(error)), self._memory.saved
            saved = f"the last checkpoint is of step {last}" if last else "there is no checkpoint yet"
            if run.config.training.jit_compile and "xla" in str(error).lower():  # memory, or a shape of its own
                why += "; training.jit_compile: false does without XLA"
            raise TrainingError(f"TensorFlow failed around step {step}: {why} ({saved})") from error

    def _each_point(self) -> bool:
        """Whether what is logged of training has a say in how it goes on."""
        scalars = self._monitored.scalars
        heeding = self._run.recipe.rate.heed is not None and not rate_monitors(self._run.config.optimizer, "optimizer")
        return heeding or any(not name.startswith("val_") for name in scalars)

    def _already_over(self) -> Stop | None:
        """Why a run that is resumed has nothing left to do, where that is so."""
        stopping, start = self._monitored.stopping, self._memory.start
        if start and stopping is not None and stopping.is_over():
            return Stop(stopping.reason())
        if start >= self._run.total_steps:
            print(f"nothing left to train: the run is at step {start} of {self._run.total_steps}")
        return None
