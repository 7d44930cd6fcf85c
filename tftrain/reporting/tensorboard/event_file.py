"""TensorBoard's event files, as the bytes of the protocol buffers that they hold.

Built one by one, the protocol buffers of a large model's point take milliseconds; nearly all their bytes are those of
the point before. The numbers of the fields are in tensorboard/compat/proto: event, summary, tensor, tensor_shape.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_SCALAR,
    Summary,
    SummaryMetadata,
)

from tftrain.reporting.tensorboard.descriptions import description_of
from tftrain.runtime.atomic_files import create, raising_write_error, sync

_STAMP = re.compile(r"events\.out\.tfevents\.(\d{10})\.(\d{6})\.")
_HEAD = struct.Struct("<Q4xBd")
_HEAD_BYTES = _HEAD.size + 11  # with the step
_MAX_SECONDS = 10**10 - 1  # what the name of a file has room for
_FLOAT = b"\x08\x01"  # TensorProto.dtype
_SCALAR = SummaryMetadata(
    plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"),
    data_class=DATA_CLASS_SCALAR,
).SerializeToString()


class ScalarValues:
    """Owns the bytes of one value for each tag, of which only the numbers change."""

    def __init__(self, tags: Sequence[str]):
        self.tags = tuple(tags)
        values = [_scalar(tag) for tag in tags]
        self._sizes = np.array([len(value) for value in values], np.intp)
        self._bytes = np.frombuffer(b"".join(values), np.uint8).copy()
        self._places = np.cumsum(self._sizes)[:, None] + np.arange(-4, 0)

    def encode(self, numbers: np.ndarray, is_drawn: np.ndarray) -> bytes:
        """Return the values of a summary: those of `numbers`, [tags], as float32 where `is_drawn`, [tags]."""
        self._bytes[self._places] = (
            numbers.astype("<f4").view(np.uint8).reshape(-1, 4)
        )
        encoded = (
            self._bytes
            if is_drawn.all()
            else self._bytes[np.repeat(is_drawn, self._sizes)]
        )
        return encoded.tobytes()


class Clock:
    """The time since 1970, after `earlier` microseconds, which never goes back.

    Where the system's clock is set back, time goes on from where it was.
    """

    def __init__(self, earlier: int = 0):
        self._reading = _system_microseconds()
        self._now = max(self._reading, earlier + 1)

    def microseconds(self) -> int:
        """Return the time in microseconds."""
        reading = _system_microseconds()
        self._now += max(reading - self._reading, 0)
        self._reading = reading
        return self._now

    def seconds(self) -> float:
        return self.microseconds() / 1e6


def _system_microseconds() -> int:
    return max(int(time.time() * 1e6), 0)


def _newest(folder: Path) -> int:
    """The latest time in the names of a folder's event files, or within the last of them, in microseconds; else 0."""
    stamps = {}
    for path in folder.glob("events.out.tfevents.*"):
        stamp = _STAMP.match(path.name)
        if stamp:
            stamps[path] = int(stamp[1]) * 10**6 + int(stamp[2])
    if not stamps:
        return 0
    last = max(stamps, key=stamps.get)
    return max(stamps[last], _last_time(last))


def last_event_step(path: Path) -> int:
    """The largest step of the events that a file holds whole; 0 where there is none."""
    return max((step for _, step in _events(path)), default=0)


def _last_time(path: Path) -> int:
    """The latest time of the events in a file, in microseconds; 0 where none can be read."""
    return max(
        (
            int(seconds * 1e6)
            for seconds, _ in _events(path)
            if 0 < seconds < _MAX_SECONDS
        ),
        default=0,
    )


def _events(path: Path) -> Iterator[tuple[float, int]]:
    """Yield the time, in seconds, and the step of each event that a file holds whole; nothing more from damage on.

    A record is its length in 8 bytes, their checksum in 4, the event, which begins with its time and, where that is not
    0, its step, and 4 more bytes.
    """
    if path.is_symlink() or not path.is_file():
        return
    with (
        suppress(OSError, ValueError),
        open(path, "rb") as file,
    ):  # a place beyond what a file can have is a ValueError
        size, end = os.fstat(file.fileno()).st_size, 0
        while len(head := file.read(_HEAD_BYTES)) >= _HEAD.size:
            length, field, seconds = _HEAD.unpack_from(head)
            end += length + 16
            if field != 0x09 or end > size:
                return
            yield seconds, _step(head[_HEAD.size :])
            file.seek(end)


def _step(content: bytes) -> int:
    """The step of an event, whose time these bytes follow."""
    step = 0
    if content[:1] == b"\x10":
        for place, byte in enumerate(content[1:]):
            step |= (byte & 127) << 7 * place
            if byte < 128:
                break
    return step


class EventFile:
    """Owns one event file of a run; one event holds all values of a step.

    What earlier ones hold after `start_step` counts no more; without one all of it does. Its name and its times come
    after theirs, also where the system's clock was set back.
    """

    def __init__(self, folder: Path, start_step: int | None, ending: str = ""):
        self._clock = Clock(_newest(folder))
        # TensorBoard reads a folder's files in the order of their names, so the time stands first and in full.
        seconds, microseconds = divmod(self._clock.microseconds(), 10**6)
        time_stamp = f"{seconds:010d}.{microseconds:06d}"
        name = f"events.out.tfevents.{time_stamp}.{safe_tag(socket.gethostname())}.{os.getpid()}{ending}"
        self._path = folder / name
        with self._writing():
            folder.mkdir(exist_ok=True)
            # TensorFlow follows links: it is to find a file that was made here.
            create(self._path)
            self._writer = tf.io.TFRecordWriter(str(self._path))
        self._tags: dict[str, bytes] = {}
        # Which of the tags still lack their metadata.
        self._undescribed: dict[ScalarValues, np.ndarray] = {}
        self._add_event(Event(file_version="brain.Event:2"))
        if start_step is not None:
            # TensorBoard drops what an earlier session wrote at this step and after; the point at start_step is good.
            start = start_step + 1 if start_step else 0
            self._add_event(
                Event(
                    step=start, session_log=SessionLog(status=SessionLog.START)
                )
            )

    def tensor(self, tag: str, tensor: bytes, metadata: bytes) -> bytes:
        """Return the value of a summary that holds a tensor; metadata goes with a tag's first value alone.

        Args:
            tag: of the value.
            tensor: a serialized TensorProto.
            metadata: a serialized SummaryMetadata without description.
        """
        value = _length_prefixed(b"\x42", tensor)
        if tag in self._tags:
            return _length_prefixed(b"\x0a", self._tags[tag] + value)
        self._tags[tag] = _length_prefixed(b"\x0a", tag.encode())
        return _length_prefixed(
            b"\x0a", self._tags[tag] + value + _description_field(tag, metadata)
        )

    def scalars(
        self, values: ScalarValues, numbers: np.ndarray, is_drawn: np.ndarray
    ) -> bytes:
        """Return the values of a summary; metadata goes with a tag's first value alone.

        Args:
            values: the encoder of these tags.
            numbers: one for each tag, [tags].
            is_drawn: which of them to write, [tags].
        """
        encoded = values.encode(numbers, is_drawn)
        undescribed = self._undescribed.setdefault(
            values, np.full(len(values.tags), True)
        )
        new = undescribed & is_drawn
        if not new.any():
            return encoded
        undescribed &= ~new
        summary = Summary.FromString(encoded)
        new_tags = {
            values.tags[index] for index in np.flatnonzero(new)
        } - self._tags.keys()
        self._tags |= {
            tag: _length_prefixed(b"\x0a", tag.encode()) for tag in new_tags
        }
        for value in summary.value:
            if value.tag in new_tags:
                value.metadata.MergeFromString(_SCALAR)
                value.metadata.summary_description = description_of(value.tag)
        return summary.SerializeToString()

    def write(self, step: int, values: bytes) -> None:
        """Writes the values of a summary as one event; none is no event."""
        if values:
            now = struct.pack("<d", self._clock.seconds())
            self._write(
                b"".join(
                    [
                        b"\x09",
                        now,
                        b"\x10",
                        _encode_varint(int(step)),
                        _length_prefixed(b"\x2a", values),
                    ]
                )
            )

    def write_graph(self, graph: Any) -> None:
        self._add_event(Event(graph_def=graph.SerializeToString()))

    def flush(self) -> None:
        with self._writing():
            self._writer.flush()

    def sync(self) -> None:
        """Wait until all that was flushed is on the disk."""
        with self._writing():
            sync(self._path)

    def close(self) -> None:
        with self._writing():
            self._writer.close()

    def _add_event(self, event: Event) -> None:
        event.wall_time = self._clock.seconds()
        self._write(event.SerializeToString())

    def _write(self, event: bytes) -> None:
        with self._writing():
            self._writer.write(event)

    def _writing(self) -> AbstractContextManager:
        return raising_write_error(self._path, tf.errors.OpError)


def safe_tag(name: str) -> str:
    """Returns a name with letters, digits and `_ . - /` alone, and no empty part between slashes."""
    return (
        "/".join(
            part for part in re.sub(r"[^\w.\-/]", "_", name).split("/") if part
        )
        or "_"
    )


def float_tensors(tables: Sequence[np.ndarray]) -> list[bytes]:
    """The TensorProto of each table of floats, [rows, columns], in float32; no table has 0 rows."""
    if not tables:
        return []
    content = np.concatenate(tables, dtype="<f4", casting="same_kind").tobytes()
    columns, tensors, start = len(tables[0][0]), [], 0
    for table in tables:
        stop = start + 4 * columns * len(table)
        tensors.append(_float_tensor(len(table), columns) + content[start:stop])
        start = stop
    return tensors


@cache
def _float_tensor(rows: int, columns: int) -> bytes:
    """All of a TensorProto that comes before its content."""
    shape = b"".join(
        _length_prefixed(b"\x12", b"\x08" + _encode_varint(size))
        for size in (rows, columns)
    )
    return (
        _FLOAT
        + _length_prefixed(b"\x12", shape)
        + b"\x22"
        + _encode_varint(4 * rows * columns)
    )


@cache
def _scalar(tag: str) -> bytes:
    """The value of a summary that holds a simple value, which is its last 4 bytes."""
    return _length_prefixed(
        b"\x0a", _length_prefixed(b"\x0a", tag.encode()) + b"\x15" + bytes(4)
    )


def _description_field(tag: str, metadata: bytes) -> bytes:
    """The field of a value that holds its metadata, with the tag's description."""
    return _length_prefixed(
        b"\x4a",
        metadata + _length_prefixed(b"\x1a", description_of(tag).encode()),
    )


def _length_prefixed(field: bytes, content: bytes) -> bytes:
    return field + _encode_varint(len(content)) + content


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
