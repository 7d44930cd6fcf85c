"""Examples that can be read from any of them on, without those before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor, Tree
from tftrain.runtime.errors import DataError

THREADS = min(8, os.cpu_count() or 1)
IN_ORDER = 64  # examples
FRAME_BYTES = 16  # of a TFRecord beside its data: length, its checksum, and that of the data


class RecordRange(NamedTuple):
    """Examples that lie one after the other: `addresses` are where each starts, and where the last one ends."""

    source: int
    addresses: np.ndarray

    @property
    def examples(self) -> int:
        """How many examples the range has."""
        return len(self.addresses) - 1


@dataclass(frozen=True)
class RandomAccessRecords:
    """Examples by their addresses.

    `read(source, first, end, count)` is a tf.data.Dataset of the raw ones between two addresses, which `decode` makes
    the tuple of an example. `together` are those that are read at once at most, because it costs less.
    """

    pieces: tuple[RecordRange, ...]
    read: Callable[[Tensor, Tensor, Tensor, Tensor], tf.data.Dataset]
    decode: Callable[[Tensor], tuple]
    element_spec: Tree
    together: int

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return sum(piece.examples for piece in self.pieces)

    def select(self, numbers: np.ndarray) -> RandomAccessRecords:
        """The examples with these numbers, which ascend."""
        selected, first = [], 0
        for piece in self.pieces:
            low, high = np.searchsorted(
                numbers, [first, first + piece.examples]
            )
            local_numbers = numbers[low:high] - first
            runs = (
                np.split(
                    local_numbers,
                    np.flatnonzero(np.diff(local_numbers) != 1) + 1,
                )
                if len(local_numbers)
                else []
            )
            selected += [
                piece._replace(addresses=piece.addresses[run[0] : run[-1] + 2])
                for run in runs
            ]
            first += piece.examples
        return replace(self, pieces=tuple(selected))

    def chunks(self, size: int) -> np.ndarray:
        """What `read` takes for all examples, up to `size` at once, [chunks, 4] int64."""
        chunk_rows = []
        for source, addresses in self.pieces:
            edges = np.append(
                np.arange(0, len(addresses) - 1, size), len(addresses) - 1
            )
            at = addresses[edges]
            chunk_rows.append(
                np.stack(
                    [
                        np.full(len(at) - 1, source),
                        at[:-1],
                        at[1:],
                        np.diff(edges),
                    ],
                    axis=1,
                )
            )
        return np.concatenate(chunk_rows)

    def dataset(self) -> tf.data.Dataset:
        """All examples in their own order."""
        chunks = tf.data.Dataset.from_tensor_slices(self.chunks(IN_ORDER))
        return self.decoded(chunks.flat_map(self.raw))

    def raw(self, chunk: Tensor) -> tf.data.Dataset:
        # Not by tf.unstack: of an operation with several outputs, take() crashes the optimizer of datasets (TF 2.21).
        """Return the raw examples of a chunk, [4] int64, as a tf.data.Dataset."""
        return self.read(chunk[0], chunk[1], chunk[2], chunk[3])

    def decoded(self, raw: tf.data.Dataset) -> tf.data.Dataset:
        """Return the examples of raw ones."""
        return raw.map(
            self.decode, num_parallel_calls=THREADS, deterministic=True
        )


def as_dataset(
    examples: RandomAccessRecords | tf.data.Dataset,
) -> tf.data.Dataset:
    """The examples as a tf.data.Dataset, in their own order."""
    return (
        deterministic(examples.dataset())
        if isinstance(examples, RandomAccessRecords)
        else examples
    )


def deterministic(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset in an order that depends on no timing."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread holds up the release of an iterator for as long as it was used
    options.deterministic = True
    return dataset.with_options(options)


def tfrecords(
    files: Sequence[tuple[str, int, int]], decode: Callable, together: int
) -> RandomAccessRecords:
    """Return examples of TFRecord files as records that can be read from anywhere.

    `decode` makes the tuple of an example from its bytes. Raises DataError for a file that holds less.

    Args:
        files: (path, start, stop) each: the examples from `start` to before `stop`.
        decode: makes the tuple of an example from its bytes.
        together: how many are read at once at most.
    """
    paths = list(dict.fromkeys(path for path, _, _ in files))
    addresses = {path: record_addresses(path) for path in paths}
    for path, _, stop in files:
        if stop >= len(addresses[path]):
            raise DataError(
                f"{path} holds {len(addresses[path]) - 1} whole records; {stop} are expected"
            )
    pieces = tuple(
        RecordRange(paths.index(path), addresses[path][start : stop + 1])
        for path, start, stop in files
    )
    bytes_spec = tf.TensorSpec([], tf.string)

    def read(
        source: Tensor, first: Tensor, end: Tensor, count: Tensor
    ) -> tf.data.Dataset:
        path = tf.gather(tf.constant(paths), source)
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=[path],
            compression_type="",
            buffer_size=end - first,
            byte_offsets=[first],
        )
        return tf.data.experimental.from_variant(variant, bytes_spec).take(
            count
        )

    return RandomAccessRecords(
        pieces, read, decode, spec_of(decode, bytes_spec), together
    )


def record_addresses(path: str) -> np.ndarray:
    """Where each whole record of a TFRecord file starts, and where the last one ends; only their lengths are read."""
    addresses, size = [0], os.path.getsize(path)
    with open(path, "rb") as file:
        while len(length := file.read(8)) == 8:
            end = addresses[-1] + FRAME_BYTES + int.from_bytes(length, "little")
            if end > size:
                break
            addresses.append(end)
            file.seek(end)
    return np.array(addresses, np.int64)


def spec_of(decode: Callable, raw: tf.TensorSpec) -> Any:
    """Return the tf.TensorSpec of what `decode` makes of a raw example.

    Args:
        decode: a function of a raw example.
        raw: its spec.
    """
    blank = tf.data.Dataset.from_tensors(
        tf.zeros(raw.shape, raw.dtype) if raw.dtype.is_integer else ""
    )
    return blank.map(decode).element_spec
