"""A grid of runs, one after the other, with a table at the end and TensorBoard's HParams page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.table import Table

from tftrain.config.error_context import InputError, TrainingError, UserCodeError
from tftrain.config.export import settings
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import read_scalar
from tftrain.reporting.tensorboard.hparams import Entry, Outcome, result_tags, write_hparams
from tftrain.runtime import run_dir
from tftrain.runtime.metric_mode import direction
from tftrain.runtime.terminal import say
from tftrain.trainer.grid import Trial, shortest
from tftrain.trainer.results import Result, Results

Train = Callable[[Config, Path], Result]
# The split that is gone by is the first of these that there is: no setting is chosen by test data where others serve.
ASKED = ("validation", "test", "train")


class Row(NamedTuple):
    """What came of one run of a sweep; `failed` says why there are no results, or none that count."""

    trial: Trial
    folder: Path
    results: Results
    failed: str | None
    seconds: float


class Sweep:
    """Owns the runs of a sweep; `rows` are of those that have ended."""

    def __init__(self, trials: Sequence[Trial], configs: Sequence[Config], parent: Path | None, train: Train):
        self._trials, self._configs, self._train = trials, configs, train
        self.parent = run_dir.new_parent(configs[0].source) if parent is None else parent
        digits = len(str(len(trials) - 1))
        names = [f"{number:0{digits}d}-{run_dir.safe_name(trial.label)}" for number, trial in enumerate(trials)]
        self._folders = [self.parent / name.rstrip("-") for name in names]
        for folder in self._folders:
            run_dir.check(folder, resume=False)
        self.rows: list[Row] = []

    def run(self) -> None:
        """Train one after the other; one that fails does not keep the others from being trained."""
        for number, (trial, config, folder) in enumerate(
            zip(self._trials, self._configs, self._folders, strict=True), 1
        ):
            say(f"\nrun {number} of {len(self._trials)}{': ' if trial.label else ''}{trial.label}", flush=True)
            row = self._one(trial, config, folder)
            if row.failed:
                say(f"failed: {row.failed}", flush=True)
            self.rows.append(row)

    def _one(self, trial: Trial, config: Config, folder: Path) -> Row:
        began, start = time.time(), time.monotonic()
        outcome, failed = Outcome(), None
        try:
            found = self._train(config, folder)
            outcome.results, outcome.step = found.results, found.last_step()
            failed = found.stopped if found.failed else None
        except (InputError, UserCodeError, TrainingError, run_dir.RunFolderError) as error:
            failed = str(error).splitlines()[0]
        except Exception as error:  # one that nobody thought of, such as memory that ran out, costs this run alone
            failed = f"{type(error).__name__}: {error}".splitlines()[0]
        if folder.is_dir():
            outcome.succeeded = failed is None
            write_hparams(folder, self._entry(trial, config, outcome.results), outcome, began)
        return Row(trial, folder, outcome.results, failed, time.monotonic() - start)

    def _entry(self, trial: Trial, config: Config, results: Results) -> Entry:
        """The settings of a run, those that differ in the sweep as numbers, where all of them are."""
        found, choices = settings(config), {}
        for key, value in trial.values.items():
            written = list(dict.fromkeys(one.values[key] for one in self._trials))
            read = [read_scalar(one) for one in written]
            plain = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in read)
            choices[key] = list(map(float, read)) if plain else written
            found[key] = choices[key][written.index(value)]
        return Entry(found, choices, _tags(results))


def table(rows: Sequence[Row]) -> Table:
    """The runs, the best first by the first metric and then the loss; those that failed last."""
    done = next((row for row in rows if row.results), None)
    split = next((one for one in ASKED if done and one in done.results), "train")
    scored = list(done.results[split]) if done else []
    first = next((name for name in scored if name != "loss"), "loss")
    keys = list(rows[0].trial.values) if rows else []
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key in keys:
        found.add_column(shortest(key, keys), justify="right")
    for name in scored:
        found.add_column(f"{split} {name}", justify="right")
    found.add_column("seconds", justify="right")
    for name in ("", "run"):
        found.add_column(name)

    def rank(row: Row) -> tuple[bool, float, float]:
        value, loss = (row.results.get(split, {}).get(name, math.nan) for name in (first, "loss"))
        return row.failed is not None or math.isnan(value), -value if direction(first) == "max" else value, loss

    for row in sorted(rows, key=rank):
        figures = [f"{row.results[split][name]:.4g}" if name in row.results.get(split, {}) else "-" for name in scored]
        ended = "failed" if row.failed else "done"
        found.add_row(*row.trial.values.values(), *figures, f"{row.seconds:.1f}", ended, row.folder.name)
    return found


def _tags(results: Results) -> list[str]:
    """The tags of the figures that each run came to, those of validation first, and of the gradient norm."""
    names = list(results.get("train", {"loss": 0.0}))
    return [*result_tags(names, [split for split in ASKED if split in results]), "Overview/log10_grad_norm"]
