"""What TensorBoard's HParams tab shows of a run: its settings, the scalars to compare, and how it ended.

All of it is in event files of its own: of a tag TensorBoard takes the first value that it finds, also where a run is
resumed, so what counts no more has to go.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    NULL_TENSOR,
    PLUGIN_NAME,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from tftrain.reporting.tensorboard.event_file import EventFile, ScalarValues, safe_tag
from tftrain.reporting.tensorboard.summaries import SummaryValue, metadata
from tftrain.runtime.atomic_files import WriteError

Setting = bool | float | str
SPLITS = ("validation", "test", "train")
ENDING = ".hparams"  # of the names of these files
_WIDEST = 1e308  # TensorBoard asks for a range, and hides what is out of it


class RunHparams(NamedTuple):
    """A run by itself; the settings that come `first` are shown in the table until others are asked for.

    `others` are settings that runs beside it may be looked at for, numbers where this one has none of that name.
    """

    settings: Mapping[str, Setting]
    first: Sequence[str]
    metrics: Sequence[str]  # tags; the first one is shown
    others: Sequence[str] = ()


class SweepHparams(NamedTuple):
    """A run among those of a sweep.

    `choices` are all values of each setting that differs there, of one type; `metrics` are tags.
    """

    settings: Mapping[str, Setting]
    choices: Mapping[str, Sequence[Setting]]
    metrics: Sequence[str]


@dataclass
class Outcome:
    """How a run ended; `succeeded` is None where it was interrupted, and may go on.

    `results` are its figures by split, after `step` steps.
    """

    succeeded: bool | None = False
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    step: int = 0


@contextmanager
def recorded(folder: Path, run: RunHparams) -> Iterator[Outcome]:
    """Shows a run from now on, and at the end of the block how it ended in it; a failure unless told otherwise.

    Of the records of several runs TensorBoard takes one for all, so each has also what others may be looked at for.
    """
    _forget(folder)
    known = dict(run.settings) | {
        name: 0.0 for name in run.others if name not in run.settings
    }
    infos = [
        _unlimited(name, value, name in run.first) for name, value in known.items()
    ]
    _write(
        folder,
        [
            _experiment(infos, run.metrics),
            _started(folder.resolve().name, run.settings, time.time()),
        ],
    )
    found = Outcome()
    try:
        yield found
    except KeyboardInterrupt:
        found.succeeded = None
        raise
    finally:
        if folder.is_dir() and found.succeeded is not None:
            with suppress(WriteError):  # the run says so already
                _write(folder, [_ended(found.succeeded)], found)


def write_hparams(
    folder: Path, entry: SweepHparams, outcome: Outcome, began: float
) -> None:
    """Show a run that has ended among those of a sweep; `began` is in seconds since 1970."""
    _forget(folder)
    others = {
        name: value
        for name, value in entry.settings.items()
        if name not in entry.choices
    }
    infos = [_limited(name, values) for name, values in entry.choices.items()]
    infos += [_unlimited(name, value, False) for name, value in others.items()]
    notes = [
        _experiment(infos, entry.metrics),
        _started(folder.name, entry.settings, began),
    ]
    _write(folder, [*notes, _ended(bool(outcome.succeeded))], outcome)


def result_tag(split: str, name: str) -> str:
    """The tag of a figure at the end of a run."""
    return safe_tag(f"results/{split}/{name}")


def result_tags(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """The tags of loss and metrics over each split, those of the splits named first."""
    order = dict.fromkeys([*splits, *SPLITS])
    return [result_tag(split, name) for split in order for name in names]


def _forget(folder: Path) -> None:
    for path in folder.glob(f"events.out.tfevents.*{ENDING}"):
        path.unlink()


def _write(
    folder: Path, notes: Iterable[SummaryValue], outcome: Outcome | None = None
) -> None:
    """Write notes, and the figures of a run that has ended: nothing of an earlier end is left then."""
    file = EventFile(folder, None, ENDING)
    file.write(0, b"".join(file.tensor(*note) for note in notes))
    figures = outcome.results.items() if outcome else ()
    values = {
        result_tag(split, name): value
        for split, row in figures
        for name, value in row.items()
    }
    if values:
        numbers = np.array([*values.values()])
        file.write(
            outcome.step,
            file.scalars(ScalarValues([*values]), numbers, np.full(len(values), True)),
        )
    file.close()


def _experiment(
    infos: Sequence[api_pb2.HParamInfo], metrics: Sequence[str]
) -> SummaryValue:
    found = api_pb2.Experiment(hparam_infos=infos, time_created_secs=time.time())
    for tag in metrics:
        label = " ".join(tag.split("/")[1:])
        found.metric_infos.add(name=api_pb2.MetricName(tag=tag), display_name=label)
    return _note(EXPERIMENT_TAG, HParamsPluginData(experiment=found))


def _started(name: str, settings: Mapping[str, Setting], began: float) -> SummaryValue:
    info = SessionStartInfo(group_name=name, start_time_secs=began)
    for key, setting in settings.items():
        setattr(info.hparams[key], _field(setting), setting)
    return _note(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def _ended(succeeded: bool) -> SummaryValue:
    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _note(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _limited(name: str, values: Sequence[Setting]) -> api_pb2.HParamInfo:
    """A setting that has these values and no others."""
    kind = (
        api_pb2.DATA_TYPE_STRING
        if isinstance(values[0], str)
        else api_pb2.DATA_TYPE_FLOAT64
    )
    info = api_pb2.HParamInfo(name=name, type=kind, differs=True)
    info.domain_discrete.extend(values)
    return info


def _unlimited(name: str, value: Setting, differs: bool) -> api_pb2.HParamInfo:
    """A setting that may have any value in other runs; those that differ are shown first."""
    info = api_pb2.HParamInfo(name=name, differs=differs)
    if isinstance(value, bool):
        info.type = api_pb2.DATA_TYPE_BOOL
        info.domain_discrete.extend([False, True])
    elif isinstance(value, str):
        info.type = api_pb2.DATA_TYPE_STRING
    else:
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = (
            -_WIDEST,
            _WIDEST,
        )
    return info


def _field(setting: Setting) -> str:
    """Which field of protobuf's Value holds it."""
    if isinstance(setting, bool):
        return "bool_value"
    return "string_value" if isinstance(setting, str) else "number_value"


def _note(tag: str, data: HParamsPluginData) -> SummaryValue:
    content = data.SerializeToString()
    return SummaryValue(
        tag,
        NULL_TENSOR.SerializeToString(),
        metadata(PLUGIN_NAME, DATA_CLASS_TENSOR, content),
    )
