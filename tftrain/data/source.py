"""Reads what a data builder returned into named splits of one shape."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tensor
from tftrain.data.batches import named_leaves
from tftrain.data.records import (
    RandomAccessRecords,
    RecordRange,
    deterministic,
    spec_of,
)
from tftrain.runtime.errors import DataError

SPLITS = ("train", "validation", "test")
READ_TWICE = 64  # examples
OVERLAP = "so that shares held out of it overlap with training; give it in one order, the run shuffles"
EXPECTED = (
    "a data builder returns arrays (x, y) or (x, y, weight), a tf.data.Dataset of such tuples, an object with "
    "__len__ and __getitem__ that gives them, or a dict of train, validation and test with one of these each"
)


def read_source(
    source: Any, is_divided: bool = False
) -> dict[str, Batch | RandomAccessRecords | tf.data.Dataset]:
    """Return the splits of a source, `train` first; data that is not split is all `train`.

    A source is (x, y), (x, y, weight), a finite unbatched tf.data.Dataset of such tuples, an object that gives them by
    their numbers, a dict or a named tuple of `train`, `validation` and `test`, or a pair of tuples: train, test. `x`
    may be a dict of arrays. Where `is_divided`, shares are to be held out of the training examples.

    Args:
        source: what a data builder returned.
        is_divided: whether shares are to be held out of the training examples.
    """
    source = by_split(source)
    if not isinstance(source, Mapping):
        return {"train": _read_data("data", source, is_divided)}
    for name in source:
        if name not in SPLITS:
            close = difflib.get_close_matches(str(name), SPLITS, 1)
            raise DataError(
                f"unknown split '{name}'; {f'did you mean {close[0]!r}?' if close else EXPECTED}"
            )
    if source.get("train") is None:
        raise DataError(
            f"there is no split 'train' among {', '.join(source) or 'none'}; {EXPECTED}"
        )
    present = [name for name in SPLITS if source.get(name) is not None]
    return {
        name: _read_data(name, source[name], is_divided and name == "train")
        for name in present
    }


def column_names(source: Any) -> dict[str, list[str]]:
    """The names of the columns of x by split, where it is a table that has them, as those of pandas do."""
    source = by_split(source)
    splits = source if isinstance(source, Mapping) else {"train": source}
    tables = {
        name: parts[0]
        for name, parts in splits.items()
        if isinstance(parts, tuple)
    }
    return {
        name: [str(column) for column in x.columns]
        for name, x in tables.items()
        if hasattr(x, "columns")
    }


def by_split(source: Any) -> Any:
    """The source as a mapping of its splits, where it has several."""
    if isinstance(source, tuple) and set(
        getattr(source, "_fields", ["x"])
    ) <= set(SPLITS):
        return source._asdict()
    if (
        isinstance(source, tuple)
        and len(source) == 2
        and all(isinstance(part, tuple) for part in source)
    ):
        return dict(zip(("train", "test"), source, strict=True))
    return source


def _read_data(
    name: str, value: Any, is_divided: bool
) -> Batch | RandomAccessRecords | tf.data.Dataset:
    if isinstance(value, tf.data.Dataset):
        return _check_dataset(name, value, is_divided)
    if is_indexed(value):
        value = from_sequence(name, value)
    if isinstance(value, RandomAccessRecords):
        _check_spec(name, value.element_spec)
        return value
    if not isinstance(value, tuple) or len(value) not in (2, 3):
        raise DataError(f"{name}: found {_describe_kind(value)}; {EXPECTED}")
    x, y, weight = (*value, None)[:3]
    x = (
        {key: _as_array(name, f"x['{key}']", leaf) for key, leaf in x.items()}
        if isinstance(x, Mapping)
        else x
    )
    x = x if isinstance(x, dict) else _as_array(name, "x", x)
    y = _as_array(name, "y", y)
    y = y if y.dtype.kind == "f" else y.astype(np.int64)
    weight = None if weight is None else _check_weights(name, weight, y)
    batch = Batch(x, y, weight)
    _check_lengths(name, batch)
    for part, leaf in named_leaves(batch).items():
        _refuse_hollow(name, part, leaf.shape[1:])
    return batch


def _check_weights(name: str, value: Any, y: np.ndarray) -> np.ndarray:
    """Weights of the examples, [examples], or of positions of the targets, such as time steps, [examples, time]."""
    weight = _as_array(name, "weight", value).astype(np.float32)
    while weight.ndim > 1 and weight.shape[-1] == 1 and weight.ndim >= y.ndim:
        weight = weight[..., 0]
    if weight.shape[1:] != y.shape[1 : weight.ndim]:
        message = f"{name}: weight has the shape {list(weight.shape)}, and y {list(y.shape)}"
        raise DataError(
            f"{message}; expected one number for each example, or for each of the first axes of y"
        )
    return weight


def _describe_kind(value: Any) -> str:
    """What a message calls the value."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a value of type {type(value).__name__}"


def _as_array(name: str, part: str, value: Any) -> np.ndarray:
    """The value as an array of numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(
            f"{name}: {part} is no regular array ({str(error).splitlines()[0]})"
        ) from error
    if array.dtype.kind not in "biuf":
        example = (
            f", for example {array.ravel()[:1].tolist()[0]!r}"
            if array.size
            else ""
        )
        raise DataError(
            f"{name}: {part} has dtype {array.dtype}{example}; numbers are expected"
        )
    if array.ndim == 0:
        raise DataError(
            f"{name}: {part} is the single value {array}; an array with one row per example is expected"
        )
    return array


def _check_lengths(name: str, batch: Batch) -> None:
    lengths = {part: len(leaf) for part, leaf in named_leaves(batch).items()}
    if len(set(lengths.values())) > 1:
        counts_text = ", ".join(
            f"{part} has {count}" for part, count in lengths.items()
        )
        raise DataError(
            f"{name}: the numbers of examples differ: {counts_text}"
        )


def _refuse_hollow(name: str, part: str, shape: Sequence[int | None]) -> None:
    if 0 in tuple(shape):
        raise DataError(
            f"{name}: {part} of an example has the shape {list(shape)}, so there is nothing in it"
        )


def _check_dataset(
    name: str, dataset: tf.data.Dataset, is_divided: bool
) -> tf.data.Dataset:
    _check_spec(name, dataset.element_spec)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError(
            f"{name}: the tf.data.Dataset never ends; remove repeat(), as epochs are counted by the run, or let "
            "take(n) say how many examples an epoch has"
        )
    if _shuffles_anew(dataset):
        fault = f"{name}: shuffle() of the tf.data.Dataset gives another order each time it is read"
        if is_divided:
            raise DataError(f"{fault}, {OVERLAP}")
        warnings.warn(
            f"{fault}, so a resumed run differs; remove it, the run shuffles",
            stacklevel=2,
        )
    dataset = deterministic(dataset)
    if is_divided and not _is_repeatable(dataset):
        raise DataError(
            f"{name}: the tf.data.Dataset gives its targets in another order each time it is read, {OVERLAP}"
        )
    return dataset


def _is_repeatable(dataset: tf.data.Dataset) -> bool:
    """Whether the first targets are the same in two readings."""
    first = dataset.take(READ_TWICE).map(lambda *example: example[1])
    readings = [
        [
            target.tobytes()
            for target in map(np.asarray, first.as_numpy_iterator())
        ]
        for _ in range(2)
    ]
    return readings[0] == readings[1]


def _shuffles_anew(dataset: tf.data.Dataset) -> bool:
    """Whether a shuffle() is among what a dataset is made of; TensorFlow tells this by private names alone."""
    if (
        type(dataset).__name__ == "_ShuffleDataset"
        and dataset._reshuffle_each_iteration
    ):
        return True
    return any(map(_shuffles_anew, dataset._inputs()))


def _check_spec(name: str, spec: Any) -> None:
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise DataError(
            f"{name}: the tf.data.Dataset gives {_describe_kind(spec)}; (x, y) or (x, y, weight) is expected"
        )
    for part, leaf in named_leaves(Batch(*spec)).items():
        if not isinstance(leaf, tf.TensorSpec):
            raise DataError(
                f"{name}: {part} is {_describe_kind(leaf)}; a dense tensor is expected"
            )
        if not (
            leaf.dtype.is_floating
            or leaf.dtype.is_integer
            or leaf.dtype.is_bool
        ):
            raise DataError(
                f"{name}: {part} has dtype {leaf.dtype.name}; numbers are expected"
            )
        if leaf.shape.rank is None:
            raise DataError(
                f"{name}: the shape of {part} is not known; set it with tf.ensure_shape"
            )
        _refuse_hollow(name, part, leaf.shape)
    if len(spec) == 3:
        weight, y = spec[2].shape, spec[1].shape
        if weight.rank and not y[: weight.rank].is_compatible_with(weight):
            message = f"{name}: weight of an example has the shape {weight.as_list()}, and y {y.as_list()}"
            raise DataError(
                f"{message}; expected one number, or one for each of the first axes of y"
            )


LOOKED_AT = 8  # examples whose shapes are compared


def is_indexed(value: Any) -> bool:
    """Whether a value gives examples by number, and is nothing that Python or NumPy counts as one value."""
    if isinstance(value, (tuple, list, str, bytes, Mapping)) or hasattr(
        value, "__array__"
    ):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def from_sequence(name: str, examples: Any) -> RandomAccessRecords:
    """Return records of an object that gives its examples by number, read by several threads at a time.

    Args:
        name: of the split.
        examples: with `len()` and `[number]`, which gives (x, y) or (x, y, weight).
    """
    if isinstance(examples, keras.utils.PyDataset):
        raise DataError(
            f"{name}: a keras.utils.PyDataset gives batches; single examples are expected"
        )
    count = len(examples)
    if not count:
        raise DataError(f"{name}: there are no examples")
    looked = [
        _example_arrays(name, examples, int(i))
        for i in np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int)
    ]
    shapes = [
        _common_shape(name, leaves)
        for leaves in zip(*map(tf.nest.flatten, looked), strict=True)
    ]
    types = [leaf.dtype for leaf in tf.nest.flatten(looked[0])]

    def get(number: np.ndarray) -> list[np.ndarray]:
        leaves = tf.nest.flatten(_example_arrays(name, examples, int(number)))
        return [
            np.asarray(leaf, dtype)
            for leaf, dtype in zip(leaves, types, strict=True)
        ]

    def decode(number: Tensor) -> tuple:
        leaves = tf.numpy_function(
            get, [number], [tf.as_dtype(dtype) for dtype in types]
        )
        leaves = [
            tf.ensure_shape(leaf, shape)
            for leaf, shape in zip(leaves, shapes, strict=True)
        ]
        return tf.nest.pack_sequence_as(looked[0], leaves)

    def read(
        source: Tensor, first: Tensor, end: Tensor, count: Tensor
    ) -> tf.data.Dataset:
        return tf.data.Dataset.range(first, end)

    piece = RecordRange(0, np.arange(count + 1, dtype=np.int64))
    return RandomAccessRecords(
        (piece,),
        read,
        decode,
        spec_of(decode, tf.TensorSpec([], tf.int64)),
        together=1,
    )


def _example_arrays(name: str, examples: Any, number: int) -> tuple:
    example = examples[number]
    if not isinstance(example, tuple) or len(example) not in (2, 3):
        kind = type(example).__name__
        raise DataError(
            f"{name}: example {number} is a {kind}; a tuple (x, y) or (x, y, weight) is expected"
        )
    return tf.nest.map_structure(np.asarray, example)


def _common_shape(
    name: str, leaves: tuple[np.ndarray, ...]
) -> list[int | None]:
    """The sizes of an example's part, None where they differ."""
    if len({leaf.ndim for leaf in leaves}) > 1:
        shapes = sorted((leaf.shape for leaf in leaves), key=len)
        raise DataError(
            f"{name}: examples have shapes of differing rank, {shapes[0]} and {shapes[-1]}"
        )
    return [
        sizes[0] if len(set(sizes)) == 1 else None
        for sizes in zip(*(leaf.shape for leaf in leaves), strict=True)
    ]
