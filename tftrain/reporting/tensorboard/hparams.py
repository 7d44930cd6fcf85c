"""What TensorBoard's HParams tab shows of a run: its settings, compared scalars, and how it ended.

They are in event files of their own. Of a tag TensorBoard takes the first value that it
finds, also after a run was resumed, so outdated files have to be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.summary import (
    experiment_pb,
    session_end_pb,
    session_start_pb,
)

from tftrain.reporting.tensorboard.event_file import (
    EventFile,
    ScalarValues,
    safe_tag,
)
from tftrain.runtime.atomic_files import WriteError

Setting = bool | float | str
SPLITS = ("validation", "test", "train")
FILE_SUFFIX = ".hparams"
# TensorBoard asks for a range, and hides what lies outside of it.
_LARGEST_VALUE = 1e308


class RunHparams(NamedTuple):
    """What is shown of a run that is no part of a sweep.

    Attributes:
        settings: values by key path.
        first: keys of the settings that are shown before the user chooses others.
        metrics: tags to compare; the first one is shown.
        others: keys of settings that other runs in the table may have.
    """

    settings: Mapping[str, Setting]
    first: Sequence[str]
    metrics: Sequence[str]
    others: Sequence[str] = ()


class SweepHparams(NamedTuple):
    """What is shown of a run of a sweep.

    Attributes:
        settings: values by key path.
        choices: all values in the sweep of each setting that differs, of one type.
        metrics: tags to compare.
    """

    settings: Mapping[str, Setting]
    choices: Mapping[str, Sequence[Setting]]
    metrics: Sequence[str]


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        succeeded: None if it was interrupted, and may go on.
        results: final loss and metrics by split.
        step: the last step.
    """

    succeeded: bool | None = False
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    step: int = 0


@contextmanager
def recording_hparams(folder: Path, run: RunHparams) -> Iterator[Outcome]:
    """Show a run from now on, and at the end of the block the outcome that is set in it.

    TensorBoard describes all runs by the record of one of them, so each record also
    lists the settings that others may have.

    Args:
        folder: that of the run.
        run: its settings and metrics.
    """
    _delete_files(folder)
    missing = {name: 0.0 for name in run.others if name not in run.settings}
    infos = [
        _unbounded_hparam(name, value, differs=name in run.first)
        for name, value in [*run.settings.items(), *missing.items()]
    ]
    experiment = experiment_pb(infos, _metric_infos(run.metrics))
    start = session_start_pb(run.settings, group_name=folder.resolve().name)
    _write(folder, [experiment, start])
    outcome = Outcome()
    try:
        yield outcome
    except KeyboardInterrupt:
        outcome.succeeded = None
        raise
    finally:
        if folder.is_dir() and outcome.succeeded is not None:
            # The run reports by itself that its folder cannot be written to.
            with suppress(WriteError):
                _write(folder, [_session_end(outcome.succeeded)], outcome)


def write_hparams(
    folder: Path, entry: SweepHparams, outcome: Outcome, start_time: float
) -> None:
    """Show a run that has ended among those of a sweep.

    Args:
        folder: that of the run.
        entry: its settings and metrics.
        outcome: how it ended.
        start_time: in seconds since 1970.
    """
    _delete_files(folder)
    infos = [
        _discrete_hparam(name, values) for name, values in entry.choices.items()
    ]
    for name, value in entry.settings.items():
        if name not in entry.choices:
            infos.append(_unbounded_hparam(name, value, differs=False))
    experiment = experiment_pb(infos, _metric_infos(entry.metrics))
    start = session_start_pb(
        entry.settings, group_name=folder.name, start_time_secs=start_time
    )
    end = _session_end(bool(outcome.succeeded))
    _write(folder, [experiment, start, end], outcome)


def result_tag(split: str, name: str) -> str:
    """Return the tag of a loss or metric at the end of a run."""
    return safe_tag(f"results/{split}/{name}")


def result_tags(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Return the tags of loss and metrics over each split.

    Args:
        names: of loss and metrics.
        splits: those whose tags come first.
    """
    ordered_splits = dict.fromkeys([*splits, *SPLITS])
    return [
        result_tag(split, name) for split in ordered_splits for name in names
    ]


def _delete_files(folder: Path) -> None:
    for path in folder.glob(f"events.out.tfevents.*{FILE_SUFFIX}"):
        path.unlink()


def _write(
    folder: Path, summaries: Iterable[Any], outcome: Outcome | None = None
) -> None:
    """Write summaries, and the results of a run that has ended."""
    file = EventFile(folder, None, FILE_SUFFIX)
    values = [value for summary in summaries for value in summary.value]
    records = [
        file.tensor(
            value.tag,
            value.tensor.SerializeToString(),
            value.metadata.SerializeToString(),
        )
        for value in values
    ]
    file.write(0, b"".join(records))
    results = {} if outcome is None else outcome.results
    scalars = {
        result_tag(split, name): value
        for split, metrics in results.items()
        for name, value in metrics.items()
    }
    if scalars:
        numbers = np.array(list(scalars.values()))
        all_kept = np.full(len(scalars), True)
        encoded = file.scalars(ScalarValues(list(scalars)), numbers, all_kept)
        file.write(outcome.step, encoded)
    file.close()


def _metric_infos(tags: Sequence[str]) -> list[api_pb2.MetricInfo]:
    return [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=tag),
            display_name=" ".join(tag.split("/")[1:]),
        )
        for tag in tags
    ]


def _session_end(succeeded: bool) -> Any:
    if succeeded:
        return session_end_pb(api_pb2.STATUS_SUCCESS)
    return session_end_pb(api_pb2.STATUS_FAILURE)


def _discrete_hparam(
    name: str, values: Sequence[Setting]
) -> api_pb2.HParamInfo:
    """Describe a setting that has these values and no others."""
    info = api_pb2.HParamInfo(name=name, differs=True)
    info.type = api_pb2.DATA_TYPE_FLOAT64
    if isinstance(values[0], str):
        info.type = api_pb2.DATA_TYPE_STRING
    info.domain_discrete.extend(values)
    return info


def _unbounded_hparam(
    name: str, value: Setting, differs: bool
) -> api_pb2.HParamInfo:
    """Describe a setting that may have any value in other runs; those that differ come first."""
    info = api_pb2.HParamInfo(name=name, differs=differs)
    if isinstance(value, bool):
        info.type = api_pb2.DATA_TYPE_BOOL
        info.domain_discrete.extend([False, True])
    elif isinstance(value, str):
        info.type = api_pb2.DATA_TYPE_STRING
    else:
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value = -_LARGEST_VALUE
        info.domain_interval.max_value = _LARGEST_VALUE
    return info
