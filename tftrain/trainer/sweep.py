"""A grid of runs, one after the other, with a table at the end and TensorBoard's HParams page."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from tftrain.config.export import flat_hparams
from tftrain.config.field_types import (
    ListOrItem,
    union_members,
    unwrap_annotated,
)
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
from tftrain.runtime.errors import (
    ConfigError,
    InputError,
    TrainingError,
    UserCodeError,
)
from tftrain.runtime.metric_mode import metric_mode
from tftrain.runtime.terminal import say
from tftrain.trainer.results import Result, Results

Train = Callable[[Config, Path], Result]
# Runs are ranked by the first of these splits that has results: test data chooses no setting where others serve.
RANKING_SPLITS = ("validation", "test", "train")
NONE = "none"  # of a list of components no component at all, of any other setting null
_OPENING = "[{("
_CLOSING = "]})"
_QUOTES = "'\""


class SweepResult(NamedTuple):
    """The outcome of one run of a sweep; `failed` says why it has no results, or none that count."""

    trial: Trial
    folder: Path
    results: Results
    failed: str | None
    seconds: float


class Sweep:
    """The runs of a sweep.

    Args:
        trials: what differs between the runs.
        configs: the config of each trial.
        parent: the folder of their folders; None makes a new one.
        train: trains a config in a folder.

    Attributes:
        parent: the folder of the runs' folders.
        rows: the outcomes of the runs that have ended.

    Raises:
        RunFolderError: the folder of a run is in use.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        configs: Sequence[Config],
        parent: Path | None,
        train: Train,
    ):
        self._trials = trials
        self._configs = configs
        self._train = train
        if parent is None:
            parent = run_dir.make_sweep_folder(configs[0].source)
        self.parent = parent
        digits = len(str(len(trials) - 1))
        self._folders: list[Path] = []
        for index, trial in enumerate(trials):
            name = (
                f"{index:0{digits}d}-{run_dir.safe_name(trial.label)}".rstrip(
                    "-"
                )
            )
            self._folders.append(parent / name)
        for folder in self._folders:
            run_dir.ensure_available(folder, resume=False)
        self.rows: list[SweepResult] = []

    def run(self) -> None:
        """Train one run after the other; those after one that fails are still trained."""
        runs = zip(self._trials, self._configs, self._folders, strict=True)
        for number, (trial, config, folder) in enumerate(runs, 1):
            label = f": {trial.label}" if trial.label else ""
            say(f"\nrun {number} of {len(self._trials)}{label}", flush=True)
            row = self._run_trial(trial, config, folder)
            if row.failed:
                say(f"failed: {row.failed}", flush=True)
            self.rows.append(row)

    def _run_trial(
        self, trial: Trial, config: Config, folder: Path
    ) -> SweepResult:
        start_time = time.time()
        start = time.monotonic()
        outcome = Outcome()
        failed = None
        try:
            result = self._train(config, folder)
            outcome.results = result.results
            outcome.step = result.last_step()
            if result.failed:
                failed = result.stopped
        except (
            InputError,
            UserCodeError,
            TrainingError,
            run_dir.RunFolderError,
        ) as error:
            failed = str(error).splitlines()[0]
        except Exception as error:
            # An error that nobody foresaw, such as memory that ran out, ends this run alone.
            failed = f"{type(error).__name__}: {error}".splitlines()[0]
        if folder.is_dir():
            outcome.succeeded = failed is None
            hparams = self._make_hparams(trial, config, outcome.results)
            write_hparams(folder, hparams, outcome, start_time)
        seconds = time.monotonic() - start
        return SweepResult(trial, folder, outcome.results, failed, seconds)

    def _make_hparams(
        self, trial: Trial, config: Config, results: Results
    ) -> SweepHparams:
        """Return the settings of a run; those that the sweep varies are numbers where all their values are."""
        settings = flat_hparams(config)
        choices = {}
        for key, text in trial.values.items():
            texts = list(
                dict.fromkeys(item.values[key] for item in self._trials)
            )
            values = [read_scalar(choice) for choice in texts]
            if all(_is_number(value) for value in values):
                choices[key] = [float(value) for value in values]
            else:
                choices[key] = texts
            settings[key] = choices[key][texts.index(text)]
        return SweepHparams(settings, choices, _make_tags(results))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def make_table(rows: Sequence[SweepResult]) -> Table:
    """Return a table of the runs, the best first by the first metric and then the loss, those that failed last."""
    with_results = next((row for row in rows if row.results), None)
    split = "train"
    names = []
    if with_results is not None:
        results = with_results.results
        split = next(
            (name for name in RANKING_SPLITS if name in results), "train"
        )
        names = list(results[split])
    keys = list(rows[0].trial.values) if rows else []
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key in keys:
        table.add_column(shorten_key(key, keys), justify="right")
    for name in names:
        table.add_column(f"{split} {name}", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("")
    table.add_column("run")
    for row in _sort_rows(rows, split, names):
        figures = row.results.get(split, {})
        cells = [
            f"{figures[name]:.4g}" if name in figures else "-" for name in names
        ]
        status = "failed" if row.failed else "done"
        table.add_row(
            *row.trial.values.values(),
            *cells,
            f"{row.seconds:.1f}",
            status,
            row.folder.name,
        )
    return table


def _sort_rows(
    rows: Sequence[SweepResult], split: str, names: Sequence[str]
) -> list[SweepResult]:
    first = next((name for name in names if name != "loss"), "loss")
    is_larger_better = metric_mode(first) == "max"

    def sort_key(row: SweepResult) -> tuple[bool, float, float]:
        figures = row.results.get(split, {})
        value = figures.get(first, math.nan)
        loss = figures.get("loss", math.nan)
        is_last = row.failed is not None or math.isnan(value)
        return is_last, -value if is_larger_better else value, loss

    return sorted(rows, key=sort_key)


def _make_tags(results: Results) -> list[str]:
    """Return the tags of a run's results, those of validation first, and of the gradient norm."""
    names = list(results.get("train", {"loss": 0.0}))
    splits = [split for split in RANKING_SPLITS if split in results]
    return [*result_tags(names, splits), "Overview/log10_grad_norm"]


class Trial(NamedTuple):
    """The settings of one run of a sweep: the values that differ, as written, and the arguments of `--set`."""

    values: dict[str, str]
    flags: list[str]

    @property
    def label(self) -> str:
        """A short text such as `limit=0.1 seed=0`."""
        return " ".join(
            f"{shorten_key(key, self.values)}={value}"
            for key, value in self.values.items()
        )


def expand_grid(settings: Sequence[str]) -> list[Trial]:
    """Return all combinations of values, the last key changing fastest.

    Args:
        settings: texts `KEY.PATH=VALUE,VALUE,...`.

    Raises:
        ConfigError: a text has another form, or the same value twice.
    """
    choices: dict[str, list[str]] = {}
    for text in settings:
        key, _, right_side = text.partition("=")
        values = split_values(right_side)
        if not key.strip() or not all(values):
            raise _argument_error(
                text,
                "expected KEY.PATH=VALUE,VALUE, such as gradients.clip.limit=0.1,1,none",
            )
        repeated = _find_repeated(values)
        if repeated is not None:
            raise _argument_error(
                text, f"given {repeated} twice; expected each value once"
            )
        choices[key.strip()] = values
    varied = [key for key, values in choices.items() if len(values) > 1]
    trials = []
    for values in itertools.product(*choices.values()):
        setting_values = dict(zip(choices, values, strict=True))
        flags = [
            _make_flag(key, value) for key, value in setting_values.items()
        ]
        # An empty list comes last: a component that is left out has no arguments.
        flags.sort(key=lambda flag: flag.endswith("=[]"))
        trials.append(
            Trial({key: setting_values[key] for key in varied}, flags)
        )
    return trials


def _argument_error(text: str, message: str) -> ConfigError:
    return ConfigError(
        [format_error(SourceLocation(f"--set {text}"), "", message)]
    )


def _find_repeated(texts: Sequence[str]) -> str | None:
    """Return the first text that means the same as another one."""
    values = [_comparable_value(text) for text in texts]
    for text, value in zip(texts, values, strict=True):
        if values.count(value) > 1:
            return text
    return None


def _comparable_value(text: str) -> Any:
    """Return what is equal for texts that mean the same, such as `0.1` and `1e-1`."""
    try:
        return _node_value(parse(text, "", lines=False))
    except ConfigError:  # reported where the setting is used
        return text


def _node_value(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _node_value(item) for key, (_, item) in node.value.items()}
    if isinstance(node.value, list):
        return [_node_value(item) for item in node.value]
    if isinstance(node.value, bool):
        return (node.value,)  # which is not equal to 0 or 1
    return node.value


def split_values(text: str) -> list[str]:
    """Return the texts between commas, but for commas within brackets, braces or quotes."""
    values = []
    start = 0
    depth = 0
    quote = ""
    for position, letter in enumerate(text):
        if quote:
            if letter == quote:
                quote = ""
        elif letter in _QUOTES:
            # Elsewhere in a plain word it is an apostrophe.
            if depth or not text[start:position].strip():
                quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter == "," and not depth:
            values.append(text[start:position].strip())
            start = position + 1
    return [*values, text[start:].strip()]


def shorten_key(key: str, keys: Iterable[str]) -> str:
    """Return the end of a key's path that is just long enough to tell it from other keys.

    Args:
        key: a path such as `gradients.clip.limit`.
        keys: all keys, `key` among them.
    """
    parts = key.split(".")
    other_parts = [item.split(".") for item in keys if item != key]
    for length in range(1, len(parts) + 1):
        end = parts[-length:]
        if all(item[-length:] != end for item in other_parts):
            return ".".join(end)
    return key


def _make_flag(key: str, value: str) -> str:
    """Return the argument of `--set` for a value, of which `none` leaves a component out."""
    if value != NONE:
        return f"{key}={value}"
    parts = key.split(".")
    annotation: Any = Config
    for length, name in enumerate(parts, 1):
        annotation = _field_annotation(annotation, name)
        members = map(unwrap_annotated, union_members(annotation))
        if any(ListOrItem() in marks for _, marks in members):
            return f"{'.'.join(parts[:length])}=[]"
    return f"{key}=null"


def _field_annotation(annotation: Any, name: str) -> Any:
    """Return the annotation of a field of the dataclass in an annotation; Any where there is none."""
    for member, _ in map(unwrap_annotated, union_members(annotation)):
        if dataclasses.is_dataclass(member):
            hints = typing.get_type_hints(member, include_extras=True)
            return hints.get(name, Any)
    return Any
