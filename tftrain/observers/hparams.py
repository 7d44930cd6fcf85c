"""What TensorBoard's HParams page shows of a run: its settings among those of a sweep, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tftrain.durable import writing

Setting = float | str


class Entry(NamedTuple):
    """A run among those of a sweep.

    `choices` are all values of each setting there, of one type; `metrics` are tags, those of validation `val/TAG`.
    """

    settings: Mapping[str, Setting]
    choices: Mapping[str, Sequence[Setting]]
    metrics: Sequence[str]


def write_hparams(folder: Path, entry: Entry, succeeded: bool, began: float) -> None:
    """Add an event file to the folder of a run that has ended; `began` is in seconds since 1970."""
    start = plugin_data_pb2.SessionStartInfo(group_name=folder.name, start_time_secs=began)
    for name, value in entry.settings.items():
        kind = "string_value" if isinstance(value, str) else "number_value"
        setattr(start.hparams[name], kind, value)
    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    summary = Summary(
        value=[
            _summary(metadata.EXPERIMENT_TAG, experiment=_experiment(entry)),
            _summary(metadata.SESSION_START_INFO_TAG, session_start_info=start),
            _summary(metadata.SESSION_END_INFO_TAG, session_end_info=end),
        ]
    )
    path = folder / f"events.out.tfevents.{time.time():017.6f}.hparams"
    # No session begins in this file: TensorBoard would drop the curves of the run at that.
    with writing(path, tf.errors.OpError), tf.io.TFRecordWriter(str(path)) as writer:
        for event in (Event(file_version="brain.Event:2"), Event(summary=summary)):
            event.wall_time = time.time()
            writer.write(event.SerializeToString())


def _experiment(entry: Entry) -> api_pb2.Experiment:
    found = api_pb2.Experiment(time_created_secs=time.time())
    for name, values in entry.choices.items():
        info = found.hparam_infos.add(name=name)
        info.type = api_pb2.DATA_TYPE_STRING if isinstance(values[0], str) else api_pb2.DATA_TYPE_FLOAT64
        info.domain_discrete.extend(values)
    for tag in entry.metrics:
        group, tag = ("val", tag.removeprefix("val/")) if tag.startswith("val/") else ("", tag)
        shown = f"{group} {tag.rpartition('/')[2]}".strip()
        found.metric_infos.add(name=api_pb2.MetricName(group=group, tag=tag), display_name=shown)
    return found


def _summary(tag: str, **content: Any) -> Summary.Value:
    held = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=held)
    nothing = TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=0)]))
    return Summary.Value(
        tag=tag, tensor=nothing, metadata=SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_TENSOR)
    )
