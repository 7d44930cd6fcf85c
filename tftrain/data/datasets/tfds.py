"""Any data set of tensorflow-datasets, read from disk; without a network it answers at once."""

from __future__ import annotations

import contextlib
import difflib
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

DOWNLOAD_HOST = ("storage.googleapis.com", 443)
PROBE_SECONDS = 3.0
SMALL_BYTES = (
    2**28
)  # a split up to this size is read into arrays, such as all of MNIST or CIFAR-10
ARRAY_BYTES = 4 * 2**30  # one in array_record files up to this
READ_TOGETHER = 256  # examples
NEIGHBOURS = 64  # examples of a file that stay near to each other when they are shuffled, for they are read at once
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
    maker = _make_builder(dataset, data_dir, builder)
    if not maker.is_prepared():
        _prepare_data(maker, dataset, data_dir, download, is_own=builder is not None)
    columns = _choose_columns(maker.info, inputs, target)
    specs = {"train": train, "validation": validation, "test": test}
    splits = {name: _split_of(maker, spec) for name, spec in specs.items() if spec}
    try:
        return {
            name: _read_split(maker, spec, columns) for name, spec in splits.items()
        }
    except tf.errors.OpError as error:
        raise DataError(
            f"data set '{dataset}' is damaged in {maker.data_path}: {error.message}"
        ) from error


def _make_builder(dataset: str, data_dir: str | None, code: str | None) -> Any:
    parsed = NAME.fullmatch(dataset)
    if not parsed:
        raise DataError(
            f"'{dataset}' is no name of a data set; expected `name`, `name/config` or `name/config:1.0.0`"
        )
    if code:
        _import_builder(code)
    try:
        return library.builder(dataset, data_dir=data_dir)
    except library.core.DatasetNotFoundError:
        names = library.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(parsed["name"].lower(), names, 1)
        hint = (
            f"did you mean '{close[0]}'?"
            if close
            else "a builder of your own is named by `builder: module:Class`"
        )
        raise DataError(
            f"tensorflow-datasets has no data set '{parsed['name']}'; {hint}"
        ) from None
    except (ValueError, AssertionError) as error:
        raise DataError(f"data set '{dataset}': {_one_line(error)}") from error


def _import_builder(code: str) -> None:
    """Import the user's module; tensorflow-datasets registers the builders it defines."""
    module, _, name = code.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise DataError(f"builder '{code}' cannot be imported: {error}") from error
    if name and not hasattr(loaded, name):
        close = difflib.get_close_matches(name, dir(loaded), 1)
        raise DataError(
            f"module '{module}' has no '{name}'"
            + (f"; did you mean '{close[0]}'?" if close else "")
        )


def _prepare_data(
    maker: Any, dataset: str, data_dir: str | None, download: bool, is_own: bool
) -> None:
    path = maker.data_path
    what = (
        f"{path} holds no dataset_info.json" if path.exists() else f"there is no {path}"
    )
    missing = f"data set '{dataset}' is not prepared: {what}"
    command = f"tfds build {dataset}" + (f" --data_dir {data_dir}" if data_dir else "")
    if not download:
        raise DataError(
            f"{missing}; set `download: true`"
            + ("" if is_own else f", or run `{command}`")
        )
    if not is_own and not _is_network_there():  # a builder of one's own may need none
        raise DataError(
            f"{missing}, and no network to download it; run `{command}` on a machine with one and copy it"
        )
    try:
        maker.download_and_prepare()
    except Exception as error:  # anything: code of the data set, the disk, the servers
        raise DataError(
            f"data set '{dataset}' could not be prepared: {_one_line(error)}"
        ) from error


def _is_network_there() -> bool:
    """Whether the download host, or the proxy in front of it, takes a connection within the probe's time."""
    proxy = urllib.parse.urlsplit(urllib.request.getproxies().get("https", ""))
    host = (proxy.hostname, proxy.port or 80) if proxy.hostname else DOWNLOAD_HOST
    answered = threading.Event()

    def probe() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(host, PROBE_SECONDS).close()
            answered.set()

    thread = threading.Thread(
        target=probe, daemon=True
    )  # looking up a name knows no time limit
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _choose_columns(
    info: Any, inputs: str | list[str] | None, target: str | None
) -> tuple:
    """The features of x (a name or a list) and of y, and that of the weight if there is one."""
    names = (
        sorted(info.features.keys())
        if isinstance(info.features, library.features.FeaturesDict)
        else []
    )
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
    for name in [*([inputs] if isinstance(inputs, str) else inputs), target]:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = (
                f"did you mean '{close[0]}'?" if close else f"it has {', '.join(names)}"
            )
            raise DataError(f"'{info.name}' has no feature '{name}'; {hint}")
    return inputs, target


def _split_of(maker: Any, spec: str | list[str]) -> str:
    spec = spec if isinstance(spec, str) else "+".join(spec)
    try:
        maker.info.splits[spec]
    except (ValueError, KeyError) as error:
        known = ", ".join(sorted(maker.info.splits))
        raise DataError(
            f"'{spec}' is no split of '{maker.name}': {_one_line(error)} (its splits: {known})"
        ) from error
    return spec


def _read_split(maker: Any, spec: str, columns: tuple) -> Any:
    def pick(example: dict) -> tuple:
        return tuple(
            example[c] if isinstance(c, str) else {name: example[name] for name in c}
            for c in columns
        )

    if maker.info.file_format is library.core.FileFormat.ARRAY_RECORD:
        return _read_arrays(_Records(maker.as_data_source(split=spec), pick))
    # Caching is the run's choice, and the order of the files is part of the data position.
    config = library.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    data = maker.as_dataset(split=spec, shuffle_files=False, read_config=config).map(
        pick
    )
    if _is_small(data, maker.info.splits[spec].num_examples):
        return _in_memory(data)
    files = maker.info.splits[spec].file_instructions
    if maker.info.file_format is not library.core.FileFormat.TFRECORD or not all(
        map(_is_local, files)
    ):
        return data
    ranges = [
        (os.fspath(file.filename), file.skip, file.skip + file.take) for file in files
    ]
    return tfrecords(
        ranges,
        lambda record: pick(maker.info.features.deserialize_example(record)),
        NEIGHBOURS,
    )


def _is_local(file: Any) -> bool:
    return os.path.isfile(file.filename)


def _is_small(data: tf.data.Dataset, examples: int) -> bool:
    leaves = tf.nest.flatten(data.element_spec)
    if not all(leaf.shape.is_fully_defined() for leaf in leaves):
        return False
    return (
        0
        < examples * sum(leaf.shape.num_elements() * leaf.dtype.size for leaf in leaves)
        <= SMALL_BYTES
    )


def _in_memory(data: tf.data.Dataset) -> tuple:
    """All examples as arrays: decoded once, shuffled as a whole, and served without a pipeline."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread holds up the release of the iterator
    batches = list(data.batch(READ_TOGETHER).with_options(options).as_numpy_iterator())
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)


class _Records:
    """Examples in array_record files, which are not for tf.data, by their numbers."""

    def __init__(self, records: Any, pick: Callable[[dict], tuple]):
        self._records, self._pick = records, pick

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> tuple:
        return self._pick(self._records[number])


def _read_arrays(records: _Records) -> tuple | _Records:
    """All examples as arrays, if these are not too large."""
    size = len(records) * sum(
        np.asarray(leaf).nbytes for leaf in tf.nest.flatten(records[0])
    )
    if size > ARRAY_BYTES:
        return records
    examples = [records[index] for index in range(len(records))]
    return tf.nest.map_structure(lambda *leaves: np.stack(leaves), *examples)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
