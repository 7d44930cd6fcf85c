"""Any data set of tensorflow-datasets, read from disk; without a network it answers at once."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as library

from tftrain.data.records import tfrecords
from tftrain.runtime.errors import DataError
from tftrain.runtime.names import did_you_mean

DOWNLOAD_HOST = ("storage.googleapis.com", 443)
PROBE_SECONDS = 3.0
# A split up to this size, such as all of MNIST or CIFAR-10, is decoded once into arrays.
SMALL_BYTES = 2**28
# The same limit for array_record files, which tf.data cannot read.
ARRAY_BYTES = 4 * 2**30
EXAMPLES_PER_READ = 256
# Neighbours in a file are read at once, so this many stay together in the shuffled order.
NEIGHBOURS = 64
NAME = re.compile(r"(?P<name>\w+)(/[\w.+-]+)?(:[\d.*]+)?")


def tfds(
    dataset: str,
    train: str | list[str] = "train",
    validation: str | list[str] | None = None,
    test: str | list[str] | None = None,
    inputs: str | list[str] | None = None,
    target: str | None = None,
    data_dir: str | None = None,
    download: bool = False,
    builder: str | None = None,
):
    """A tensorflow-datasets data set, such as `mnist` or `name/config:1.0.0`, prepared on disk.

    `train`, `validation` and `test` name its splits, slices and sums of them: `train[:80%]`, `train+extra`, or a list.
    The examples are its supervised pairs, or the features named by `inputs` (a list makes a dict) and `target`.
    `builder` is the module, or `module:Class`, that holds a builder of your own. Raises DataError.

    Args:
        dataset: its name, with config and version if needed.
        train: a split, a slice or a sum of splits, or a list of them.
        validation: the same; None for none.
        test: the same; None for none.
        inputs: the feature, or the features, of x; None for the supervised pair.
        target: the feature of y; None for the supervised pair.
        data_dir: where prepared data sets are.
        download: whether to download and prepare what is not there.
        builder: the module, or `module:Class`, of a builder of your own.
    """
    if builder:
        _import_builder(builder)
    maker = _make_builder(dataset, data_dir)
    if not maker.is_prepared():
        _prepare_data(
            maker, dataset, data_dir, download, is_own=builder is not None
        )
    columns = _choose_columns(maker.info, inputs, target)
    requested = {"train": train, "validation": validation, "test": test}
    specs = {
        name: _split_spec(maker, spec)
        for name, spec in requested.items()
        if spec
    }
    try:
        return {
            name: _read_split(maker, spec, columns)
            for name, spec in specs.items()
        }
    except tf.errors.OpError as error:
        raise DataError(
            f"data set '{dataset}' is damaged in {maker.data_path}: {error.message}"
        ) from error


def _make_builder(dataset: str, data_dir: str | None) -> Any:
    parsed = NAME.fullmatch(dataset)
    if not parsed:
        raise DataError(
            f"'{dataset}' is no name of a data set; expected `name`, `name/config` or `name/config:1.0.0`"
        )
    try:
        return library.builder(dataset, data_dir=data_dir)
    except library.core.DatasetNotFoundError:
        names = library.list_builders(with_community_datasets=False)
        hint = did_you_mean(parsed["name"], names)
        if not hint:
            hint = "; a builder of your own is named by `builder: module:Class`"
        raise DataError(
            f"tensorflow-datasets has no data set '{parsed['name']}'{hint}"
        ) from None
    except (ValueError, AssertionError) as error:
        raise DataError(f"data set '{dataset}': {_one_line(error)}") from error


def _import_builder(code: str) -> None:
    """Import the user's module; tensorflow-datasets registers the builders it defines."""
    module, _, name = code.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise DataError(
            f"builder '{code}' cannot be imported: {error}"
        ) from error
    if name and not hasattr(loaded, name):
        hint = did_you_mean(name, dir(loaded))
        raise DataError(f"module '{module}' has no '{name}'{hint}")


def _prepare_data(
    maker: Any, dataset: str, data_dir: str | None, download: bool, is_own: bool
) -> None:
    path = maker.data_path
    reason = f"there is no {path}"
    if path.exists():
        reason = f"{path} holds no dataset_info.json"
    missing = f"data set '{dataset}' is not prepared: {reason}"
    command = f"tfds build {dataset}"
    if data_dir:
        command += f" --data_dir {data_dir}"
    if not download:
        alternative = "" if is_own else f", or run `{command}`"
        raise DataError(f"{missing}; set `download: true`{alternative}")
    # A user's own builder may need no network.
    if not is_own and not _can_connect():
        raise DataError(
            f"{missing}, and no network to download it; run `{command}` on a machine with one and copy it"
        )
    try:
        maker.download_and_prepare()
    except Exception as error:
        # Code of the data set, the disk and servers may raise anything.
        raise DataError(
            f"data set '{dataset}' could not be prepared: {_one_line(error)}"
        ) from error


def _can_connect() -> bool:
    """Whether the download host, or the proxy in front of it, accepts a connection within `PROBE_SECONDS`.

    Without a network tensorflow-datasets would retry for minutes before it raises.
    """
    proxy = urllib.parse.urlsplit(urllib.request.getproxies().get("https", ""))
    address = DOWNLOAD_HOST
    if proxy.hostname:
        address = (proxy.hostname, proxy.port or 80)
    is_connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(address, PROBE_SECONDS).close()
            is_connected.set()

    # In a thread, because the lookup of a host's name has no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return is_connected.is_set()


def _choose_columns(
    info: Any, inputs: str | list[str] | None, target: str | None
) -> tuple:
    """The features of x (a name or a list) and of y, and that of the weight if there is one."""
    names = []
    if isinstance(info.features, library.features.FeaturesDict):
        names = sorted(info.features.keys())
    if inputs is None and target is None:
        keys = info.supervised_keys
        if keys is None or not all(isinstance(key, str) for key in keys):
            raise DataError(
                f"'{info.name}' has no supervised pair; name its `inputs` and `target`: {', '.join(names)}"
            )
        return tuple(keys)
    if inputs is None or target is None:
        raise DataError(
            f"`inputs` and `target` go together; '{info.name}' has {', '.join(names)}"
        )
    input_names = [inputs] if isinstance(inputs, str) else inputs
    for name in [*input_names, target]:
        if name not in names:
            hint = did_you_mean(name, names) or f"; it has {', '.join(names)}"
            raise DataError(f"'{info.name}' has no feature '{name}'{hint}")
    return inputs, target


def _split_spec(maker: Any, spec: str | list[str]) -> str:
    if not isinstance(spec, str):
        spec = "+".join(spec)
    try:
        maker.info.splits[spec]
    except (ValueError, KeyError) as error:
        known = ", ".join(sorted(maker.info.splits))
        raise DataError(
            f"'{spec}' is no split of '{maker.name}': {_one_line(error)} (its splits: {known})"
        ) from error
    return spec


def _read_split(maker: Any, spec: str, columns: tuple) -> Any:
    def pick_column(example: dict, column: str | list[str]) -> Any:
        if isinstance(column, str):
            return example[column]
        return {name: example[name] for name in column}

    def pick_columns(example: dict) -> tuple:
        return tuple(pick_column(example, column) for column in columns)

    if maker.info.file_format is library.core.FileFormat.ARRAY_RECORD:
        source = maker.as_data_source(split=spec)
        return _stack_if_small(_ArrayRecords(source, pick_columns))
    # Caching is the run's choice, and the order of the files is part of the data position.
    config = library.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    data = maker.as_dataset(split=spec, shuffle_files=False, read_config=config)
    data = data.map(pick_columns)
    split_info = maker.info.splits[spec]
    if _is_small(data, split_info.num_examples):
        return _decode_all(data)

    # Local TFRecord files are read from any example on, so that a resumed run seeks instead of reading from the start.
    files = split_info.file_instructions
    is_tfrecord = maker.info.file_format is library.core.FileFormat.TFRECORD
    if not is_tfrecord or not all(
        os.path.isfile(file.filename) for file in files
    ):
        return data

    def decode(record: tf.Tensor) -> tuple:
        return pick_columns(maker.info.features.deserialize_example(record))

    ranges = [
        (os.fspath(file.filename), file.skip, file.skip + file.take)
        for file in files
    ]
    return tfrecords(ranges, decode, NEIGHBOURS)


def _is_small(data: tf.data.Dataset, examples: int) -> bool:
    leaves = tf.nest.flatten(data.element_spec)
    if not all(leaf.shape.is_fully_defined() for leaf in leaves):
        return False
    example_bytes = sum(
        leaf.shape.num_elements() * leaf.dtype.size for leaf in leaves
    )
    return 0 < examples * example_bytes <= SMALL_BYTES


def _decode_all(data: tf.data.Dataset) -> tuple:
    """All examples as arrays: decoded once, shuffled as a whole, and served without a pipeline."""
    options = tf.data.Options()
    # The thread of autotuning delays the release of the iterator.
    options.autotune.enabled = False
    batches = data.batch(EXAMPLES_PER_READ).with_options(options)
    return tf.nest.map_structure(
        lambda *parts: np.concatenate(parts), *batches.as_numpy_iterator()
    )


class _ArrayRecords:
    """Examples in array_record files by their numbers."""

    def __init__(self, records: Any, pick_columns: Callable[[dict], tuple]):
        self._records = records
        self._pick_columns = pick_columns

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> tuple:
        return self._pick_columns(self._records[number])


def _stack_if_small(records: _ArrayRecords) -> tuple | _ArrayRecords:
    """All examples as arrays, unless these take more than `ARRAY_BYTES`."""
    example_bytes = sum(
        np.asarray(leaf).nbytes for leaf in tf.nest.flatten(records[0])
    )
    if len(records) * example_bytes > ARRAY_BYTES:
        return records
    examples = [records[index] for index in range(len(records))]
    return tf.nest.map_structure(lambda *leaves: np.stack(leaves), *examples)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
