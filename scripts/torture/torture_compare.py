"""All that a run leaves, as one table of names and values; two runs are the same where their tables are."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    TENSORS,
    EventAccumulator,
)
from torture_session import in_fork

TIMES = {"wall_seconds", "step_ms", "seconds", "time", "Overview/step_ms"}
NOT_STATE = ("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")
NOT_CURVES = (
    "text",
    "graphs",
    "graph_keras_model",
    "hparams",
    "custom_scalars",
)
UNLIMITED = {TENSORS: 0}
LOSABLE = (
    "events",
    "metrics",
    "file/val/events",
)  # points, and the file of those after which no other came
HOST = "host"
SHOWN = 3
logging.getLogger("tensorboard").setLevel(
    logging.ERROR
)  # that a run was restarted is no news here

Table = dict[str, Any]


def table(folder: Path) -> Table:
    """The run's figures, weights, states and curves, without times."""
    found = in_fork(lambda: pickle.dumps(dict(_table(folder))))
    return pickle.loads(found) if found else {"all of it": "cannot be read"}


def differences(found: Table, expected: Table, torn: bool) -> list[str]:
    """What is not the same; of torn files some points may be missing, but none may be wrong."""
    names = sorted(found.keys() | expected.keys())
    wrong = [name for name in names if found.get(name) != expected.get(name)]
    if torn:
        wrong = [
            name
            for name in wrong
            if name in found or not name.startswith(LOSABLE)
        ]
    if not wrong:
        return []
    shown = [
        f"{name}: {found.get(name)} in place of {expected.get(name)}"
        for name in wrong[:SHOWN]
    ]
    return [f"{len(wrong)} values differ: " + "; ".join(shown)]


def newest(folder: Path) -> list[str]:
    """The checkpoints of a folder by their prefixes, the newest first; one made anew has a second number."""
    prefixes = [str(path)[: -len(".index")] for path in folder.glob("*.index")]
    return sorted(prefixes, key=_numbers, reverse=True)


def _numbers(prefix: str) -> list[int]:
    return [int(number) for number in re.findall(r"-(\d+)", Path(prefix).name)]


def _table(folder: Path) -> Iterator[tuple[str, Any]]:
    for name in ("checkpoints", "checkpoints/best"):
        for prefix in newest(folder / name)[:1]:
            yield from _checkpoint(name, prefix)
    yield from _weights(folder / "model.keras")
    yield from _metrics(folder / "metrics.jsonl")
    for name in (".", "val"):
        yield from _events(name, folder / name)
    results = json.loads((folder / "results.json").read_text())
    # As text, for a NaN is not the same as another one.
    yield from (
        (f"results/{name}", json.dumps(value))
        for name, value in results.items()
        if name not in TIMES
    )
    yield "config", (folder / "config.yaml").read_text()
    yield from _files(folder)


def _checkpoint(name: str, prefix: str) -> Iterator[tuple[str, Any]]:
    reader = tf.train.load_checkpoint(prefix)
    yield f"{name}/step", _numbers(prefix)[0]
    for key in reader.get_variable_to_shape_map():
        if key == HOST:
            yield (
                f"{name}/{key}",
                _without_times(json.loads(reader.get_tensor(key))),
            )
        elif not key.startswith(NOT_STATE):
            yield (
                f"{name}/{key.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')}",
                _value(reader.get_tensor(key)),
            )


def _without_times(remembered: Any) -> Any:
    """What the host remembers, without how long each step took."""
    if isinstance(remembered, dict):
        return {
            name: _without_times(value)
            for name, value in remembered.items()
            if name not in TIMES
        }
    return remembered


def _value(tensor: Any) -> Any:
    """The tensor itself where it is small, else what stands for its bits."""
    array = np.asarray(tensor)
    if array.dtype.kind in "OS" and array.ndim == 0:
        return array.item()
    if array.size < 3:
        return (array.dtype.str, *map(repr, array.ravel().tolist()))
    return (
        array.dtype.str,
        array.shape,
        hashlib.sha256(array.tobytes()).hexdigest()[:16],
    )


def _weights(path: Path) -> Iterator[tuple[str, Any]]:
    found: Table = {}
    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as weights,
    ):

        def note(name, node):
            if isinstance(node, h5py.Dataset):
                found[f"model/{name}"] = _value(node[()])

        weights.visititems(note)
    yield from found.items()


def _metrics(path: Path) -> Iterator[tuple[str, Any]]:
    points: dict[str, list] = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if name not in TIMES:
                points.setdefault(
                    f"metrics/{record['step']}/{name}", []
                ).append(value)
    yield from points.items()


def _events(name: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """Each point of each curve, as TensorBoard reads them; a second point at a step would stand beside the first."""
    if not folder.is_dir():
        return
    read = EventAccumulator(str(folder), size_guidance=UNLIMITED)
    read.Reload()
    points: dict[str, list] = {}
    for tag in sorted({*read.Tags()[TENSORS]} - TIMES):
        events = read.Tensors(tag)
        if read.SummaryMetadata(tag).plugin_data.plugin_name in NOT_CURVES:
            continue
        yield (
            f"events/{name}/{tag}: in order",
            [one.step for one in events] == sorted(one.step for one in events),
        )
        for one in events:
            points.setdefault(f"events/{name}/{tag}/{one.step}", []).append(
                _value(tf.make_ndarray(one.tensor_proto))
            )
    yield from points.items()


def _files(folder: Path) -> Iterator[tuple[str, bool]]:
    """What kinds of files and folders there are."""
    for path in folder.rglob("*"):
        name = re.sub(
            r"tfevents\..*", "tfevents", str(path.relative_to(folder))
        )
        yield f"file/{re.sub(r'[0-9]+(-[0-9]+)?', '#', name)}", True
