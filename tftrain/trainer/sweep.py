"""A grid of runs, one after the other, with a table at the end and TensorBoard's HParams page."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from tftrain.config.export import flat_hparams
from tftrain.config.field_types import ListOrItem, union_members, unwrap_annotated
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import (
    Node,
    SourceLocation,
    format_error,
    parse,
    read_scalar,
)
from tftrain.reporting.tensorboard.hparams import (
    Outcome,
    SweepHparams,
    result_tags,
    write_hparams,
)
from tftrain.runtime import run_dir
from tftrain.runtime.errors import ConfigError, InputError, TrainingError, UserCodeError
from tftrain.runtime.metric_mode import metric_mode
from tftrain.runtime.terminal import say
from tftrain.trainer.results import Result, Results

Train = Callable[[Config, Path], Result]
# The split that is gone by is the first of these that there is: no setting is chosen by test data where others serve.
ASKED = ("validation", "test", "train")


class SweepResult(NamedTuple):
    """What came of one run of a sweep; `failed` says why there are no results, or none that count."""

    trial: Trial
    folder: Path
    results: Results
    failed: str | None
    seconds: float


class Sweep:
    """Owns the runs of a sweep; `rows` are of those that have ended."""

    def __init__(
        self,
        trials: Sequence[Trial],
        configs: Sequence[Config],
        parent: Path | None,
        train: Train,
    ):
        self._trials, self._configs, self._train = trials, configs, train
        self.parent = (
            run_dir.make_sweep_folder(configs[0].source) if parent is None else parent
        )
        digits = len(str(len(trials) - 1))
        names = [
            f"{number:0{digits}d}-{run_dir.safe_name(trial.label)}"
            for number, trial in enumerate(trials)
        ]
        self._folders = [self.parent / name.rstrip("-") for name in names]
        for folder in self._folders:
            run_dir.ensure_available(folder, resume=False)
        self.rows: list[SweepResult] = []

    def run(self) -> None:
        """Train one after the other; one that fails does not keep the others from being trained."""
        for number, (trial, config, folder) in enumerate(
            zip(self._trials, self._configs, self._folders, strict=True), 1
        ):
            say(
                f"\nrun {number} of {len(self._trials)}{': ' if trial.label else ''}{trial.label}",
                flush=True,
            )
            row = self._one(trial, config, folder)
            if row.failed:
                say(f"failed: {row.failed}", flush=True)
            self.rows.append(row)

    def _one(self, trial: Trial, config: Config, folder: Path) -> SweepResult:
        start_time, start = time.time(), time.monotonic()
        outcome, failed = Outcome(), None
        try:
            result = self._train(config, folder)
            outcome.results, outcome.step = result.results, result.last_step()
            failed = result.stopped if result.failed else None
        except (
            InputError,
            UserCodeError,
            TrainingError,
            run_dir.RunFolderError,
        ) as error:
            failed = str(error).splitlines()[0]
        except Exception as error:  # one that nobody thought of, such as memory that ran out, costs this run alone
            failed = f"{type(error).__name__}: {error}".splitlines()[0]
        if folder.is_dir():
            outcome.succeeded = failed is None
            write_hparams(
                folder, self._entry(trial, config, outcome.results), outcome, start_time
            )
        return SweepResult(
            trial, folder, outcome.results, failed, time.monotonic() - start
        )

    def _entry(self, trial: Trial, config: Config, results: Results) -> SweepHparams:
        """The settings of a run, those that differ in the sweep as numbers, where all of them are."""
        settings, choices = flat_hparams(config), {}
        for key, value in trial.values.items():
            written = list(dict.fromkeys(item.values[key] for item in self._trials))
            read = [read_scalar(item) for item in written]
            plain = all(
                isinstance(item, (int, float)) and not isinstance(item, bool)
                for item in read
            )
            choices[key] = list(map(float, read)) if plain else written
            settings[key] = choices[key][written.index(value)]
        return SweepHparams(settings, choices, _tags(results))


def table(rows: Sequence[SweepResult]) -> Table:
    """The runs, the best first by the first metric and then the loss; those that failed last."""
    best_known = next((row for row in rows if row.results), None)
    split = next(
        (
            candidate
            for candidate in ASKED
            if best_known and candidate in best_known.results
        ),
        "train",
    )
    scored = list(best_known.results[split]) if best_known else []
    first = next((name for name in scored if name != "loss"), "loss")
    keys = list(rows[0].trial.values) if rows else []
    text_table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key in keys:
        text_table.add_column(shortest(key, keys), justify="right")
    for name in scored:
        text_table.add_column(f"{split} {name}", justify="right")
    text_table.add_column("seconds", justify="right")
    for name in ("", "run"):
        text_table.add_column(name)

    def rank(row: SweepResult) -> tuple[bool, float, float]:
        value, loss = (
            row.results.get(split, {}).get(name, math.nan) for name in (first, "loss")
        )
        return (
            row.failed is not None or math.isnan(value),
            -value if metric_mode(first) == "max" else value,
            loss,
        )

    for row in sorted(rows, key=rank):
        figures = [
            f"{row.results[split][name]:.4g}"
            if name in row.results.get(split, {})
            else "-"
            for name in scored
        ]
        status = "failed" if row.failed else "done"
        text_table.add_row(
            *row.trial.values.values(),
            *figures,
            f"{row.seconds:.1f}",
            status,
            row.folder.name,
        )
    return text_table


def _tags(results: Results) -> list[str]:
    """The tags of the figures that each run came to, those of validation first, and of the gradient norm."""
    names = list(results.get("train", {"loss": 0.0}))
    return [
        *result_tags(names, [split for split in ASKED if split in results]),
        "Overview/log10_grad_norm",
    ]


NONE = "none"  # of a list of parts no part at all, of any other setting null
_OPENING, _CLOSING, _QUOTES = "[{(", "]})", "'\""


class Trial(NamedTuple):
    """One run of a sweep: the values as they were written, by the keys that differ, and all flags for `--set`."""

    values: dict[str, str]
    flags: list[str]

    @property
    def label(self) -> str:
        """Such as `limit=0.1 seed=0`."""
        return " ".join(
            f"{shortest(key, self.values)}={value}"
            for key, value in self.values.items()
        )


def expand_grid(settings: Sequence[str]) -> list[Trial]:
    """All combinations of `KEY.PATH=VALUE,VALUE,...`, the last key changing fastest; raises ConfigError."""
    choices: dict[str, list[str]] = {}
    for text in settings:
        key, _, written = text.partition("=")
        values = split_values(written)
        if not key.strip() or not all(values):
            message = (
                "expected KEY.PATH=VALUE,VALUE, such as gradients.clip.limit=0.1,1,none"
            )
            raise ConfigError(
                [format_error(SourceLocation(f"--set {text}"), "", message)]
            )
        read = list(map(_meaning, values))
        twice = next(
            (
                candidate
                for candidate, value in zip(values, read, strict=True)
                if read.count(value) > 1
            ),
            None,
        )
        if twice is not None:
            raise ConfigError(
                [
                    format_error(
                        SourceLocation(f"--set {text}"),
                        "",
                        f"given {twice} twice; expected each value once",
                    )
                ]
            )
        choices[key.strip()] = values
    varied = [key for key, values in choices.items() if len(values) > 1]
    trials = []
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        flags = [_flag(key, value) for key, value in chosen.items()]
        flags.sort(
            key=lambda flag: flag.endswith("=[]")
        )  # what is left out has no arguments
        trials.append(Trial({key: chosen[key] for key in varied}, flags))
    return trials


def _meaning(text: str) -> Any:
    """What is equal for values that are written differently and stand for the same."""
    try:
        return _plain(parse(text, "", lines=False))
    except ConfigError:  # told where it is used
        return text


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(item) for key, (_, item) in node.value.items()}
    if isinstance(node.value, list):
        return list(map(_plain, node.value))
    return (
        (node.value,) if isinstance(node.value, bool) else node.value
    )  # true is not 1


def split_values(text: str) -> list[str]:
    """The values between commas, but not those within brackets, braces or quotes."""
    values, start, depth, quote = [], 0, 0, ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and not text[start:place].strip():
            quote = letter
        elif letter in _QUOTES and depth:
            quote = letter
        elif letter == "," and not depth:
            values.append(text[start:place].strip())
            start = place + 1
        depth += not quote and ((letter in _OPENING) - (letter in _CLOSING))
    return [*values, text[start:].strip()]


def shortest(key: str, keys: typing.Iterable[str]) -> str:
    """The end of a key path, as long as it takes to tell it from the others."""
    parts, other_keys = (
        key.split("."),
        [other_parts.split(".") for other_parts in keys if other_parts != key],
    )
    for length in range(1, len(parts) + 1):
        if not any(
            other_parts[-length:] == parts[-length:] for other_parts in other_keys
        ):
            return ".".join(parts[-length:])
    return key


def _flag(key: str, value: str) -> str:
    if value != NONE:
        return f"{key}={value}"
    hint: Any = Config
    for length, name in enumerate(key.split("."), 1):
        record = next(
            (
                member
                for member, _ in map(unwrap_annotated, union_members(hint))
                if dataclasses.is_dataclass(member)
            ),
            None,
        )
        hint = (
            typing.get_type_hints(record, include_extras=True).get(name, Any)
            if record
            else Any
        )
        if any(
            ListOrItem() in marks
            for _, marks in map(unwrap_annotated, union_members(hint))
        ):
            return f"{'.'.join(key.split('.')[:length])}=[]"
    return f"{key}=null"
