"""Writes the signals of a run as TensorBoard event files: training in the run's folder, validation in `val/` there."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING

from tftrain.core.types import Signals

# TensorBoard has no logarithmic axis that is kept, and gradient norms span many decades: their log10 is drawn.
LOG10 = ("grad_norm", "grad_norm_max", "clipped_grad_norm", "update_ratio")
GLOBAL_LIMIT = re.compile(r"clip/([^/]*(?:global_norm|percentile)[^/]*)/limit")
CLIP_NORM = re.compile(r"clip/(.+)/(norm_before|norm_after)")
# TensorBoard opens the first two groups. After Overview that should be the histograms of gradients, so what would stand
# before them has a name further down the alphabet.
HISTOGRAMS = {
    "gradients": "grad_hist",
    "updates": "update_hist",
    "weights": "weight_hist",
    "activations": "layer_hist",
}
WITH_AXIS = ("gradients", "updates")  # those whose axis can be chosen
GROUPS = {
    "clip": "transforms/clip",
    "activation_mean": "layer_mean",
    "activation_std": "layer_std",
    "dead_units": "layer_dead",
    "saturated": "layer_saturated",
    "zero_activations": "layer_zeros",
}
NAMES = {
    "depth_ratio": "Overview/depth_ratio_decades",
    "zero_grad_fraction": "zero_grads/all",
    "nonfinite_grads": "nonfinite_grads/all",
}
VALIDATION = "val_"
NOT_DRAWN = ("epoch",)  # a straight line


def tags(scalars: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Maps flat names to TensorBoard's: {run: {tag: value}}, where run is "" for training and "val" for validation.

    The log10 of a norm that is 0 is left out; NaN and infinity stay what they are.
    """
    runs: dict[str, dict[str, float]] = {"": {}, "val": {}}
    many_limits = sum(GLOBAL_LIMIT.fullmatch(name) is not None for name in scalars) > 1
    for name, value in scalars.items():
        if name in NOT_DRAWN:
            continue
        run = "val" if name.startswith(VALIDATION) else ""
        tag, log10 = _tag(name.removeprefix(VALIDATION), many_limits)
        if log10 and value == 0:
            continue
        runs[run][safe_tag(tag)] = _log10(float(value)) if log10 else float(value)
    return runs


def safe_tag(name: str) -> str:
    """Returns a name with letters, digits and `_ . - /` alone, and no empty part between slashes."""
    return "/".join(part for part in re.sub(r"[^\w.\-/]", "_", name).split("/") if part) or "_"


def fenced_yaml(text: str) -> str:
    """Returns YAML text as the Markdown that TensorBoard's Text page shows as it stands."""
    return f"```yaml\n{text.rstrip()}\n```\n"


class TensorBoard:
    """An observer that owns a run's event files; each session of a run opens new ones.

    `texts` is Markdown by name and `graph` a GraphDef. Of an earlier session the points up to `start_step` stay.
    """

    def __init__(
        self,
        folder: Path,
        texts: Mapping[str, str] | None = None,
        graph: Any = None,
        histogram_axis: str = "log10",
        start_step: int = 0,
    ):
        self._folder = Path(folder)
        self._axis = "_log10" if histogram_axis == "log10" else ""
        self._start_step = start_step
        self._files: dict[str, EventFile] = {}
        self._file("").write(start_step, [_text(name, text) for name, text in (texts or {}).items()])
        if graph is not None:
            self._file("").write_graph(graph)
        if start_step and (self._folder / "val").exists():
            self._file("val")  # so that the points after start_step are dropped before the next validation

    def __call__(self, step: int, signals: Signals) -> None:
        runs = {
            run: [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
            for run, values in tags(signals.scalars).items()
        }
        runs[""] += [
            _histogram(self._histogram_tag(name), rows)
            for name, rows in signals.histograms.items()
            if np.size(rows) and np.any(np.asarray(rows)[:, 2])  # an empty one would be drawn as a false line at 0
        ]
        runs[""] += [_image(name, pixels) for name, pixels in signals.images.items()]
        runs[""] += [_text(name, text) for name, text in signals.texts.items()]
        for run, values in runs.items():
            if values:
                self._file(run).write(step, values)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _file(self, run: str) -> EventFile:
        if run not in self._files:
            self._files[run] = EventFile(self._folder / run, self._start_step)
        return self._files[run]

    def _histogram_tag(self, name: str) -> str:
        head, _, rest = name.partition("/")
        return safe_tag(f"{HISTOGRAMS.get(head, head)}{self._axis if head in WITH_AXIS else ''}/{rest}")


class EventFile:
    """Owns one event file; one event holds all values of a step, and each event is flushed as it is written."""

    def __init__(self, folder: Path, start_step: int):
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a folder's files in the order of their names, so the time stands first and in full.
        name = f"events.out.tfevents.{time.time():017.6f}.{safe_tag(socket.gethostname())}.{os.getpid()}"
        self._writer = tf.io.TFRecordWriter(str(folder / name))
        self._described: set[str] = set()
        self._add(Event(file_version="brain.Event:2"))
        # TensorBoard drops what an earlier session wrote at this step and after; the point at start_step is good.
        start = start_step + 1 if start_step else 0
        self._add(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, values: list[Summary.Value]) -> None:
        """Writes the values as one event; a tag's metadata goes with its first value alone."""
        if not values:
            return
        for value in values:
            if value.tag in self._described:
                value.ClearField("metadata")
            self._described.add(value.tag)
        self._add(Event(step=step, summary=Summary(value=values)))

    def write_graph(self, graph: Any) -> None:
        self._add(Event(graph_def=graph.SerializeToString()))

    def close(self) -> None:
        self._writer.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())
        self._writer.flush()


def _tag(name: str, many_limits: bool) -> tuple[str, bool]:
    """Returns a scalar's tag, and whether it is drawn as log10."""
    head, _, rest = name.partition("/")
    if head in LOG10:
        return (f"log10_{head}/{rest}" if rest else f"Overview/log10_{head}"), True
    limit = GLOBAL_LIMIT.fullmatch(name)
    if limit:
        return "Overview/log10_clip_limit" + (f"_{limit[1]}" if many_limits else ""), True
    norm = CLIP_NORM.fullmatch(name)
    if norm:
        return f"transforms/clip/{norm[1]}/log10_{norm[2]}", True
    if rest:
        return f"{GROUPS.get(head, head)}/{rest}", False
    return NAMES.get(name, f"Overview/{name}"), False


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


def _histogram(tag: str, rows: Any) -> Summary.Value:
    """Returns rows [buckets, 3] of left, right, count as TensorBoard's histogram; float32 is enough to draw them."""
    rows = np.asarray(rows, "<f4")
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in rows.shape])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, tensor_content=rows.tobytes())
    return Summary.Value(tag=tag, metadata=_metadata("histograms", DATA_CLASS_TENSOR), tensor=tensor)


def _image(name: str, pixels: Any) -> Summary.Value:
    """Returns uint8 pixels [height, width, channels] as TensorBoard's image: width, height and a PNG."""
    pixels = np.asarray(pixels, np.uint8)
    height, width = pixels.shape[:2]
    content = [str(width).encode(), str(height).encode(), tf.io.encode_png(pixels).numpy()]
    tag = safe_tag(name if "/" in name else f"Overview/{name}")
    return Summary.Value(tag=tag, metadata=_metadata("images", DATA_CLASS_BLOB_SEQUENCE), tensor=_strings(content))


def _text(name: str, text: str) -> Summary.Value:
    tensor = _strings([text.encode()])
    return Summary.Value(tag=safe_tag(name), metadata=_metadata("text", DATA_CLASS_TENSOR), tensor=tensor)


def _strings(values: list[bytes]) -> TensorProto:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(values))])
    return TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=values)


def _metadata(plugin: str, data_class: int) -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class)
