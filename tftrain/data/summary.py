"""Looks once at every example before training: how many there are, their labels, and whether all are finite."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tensor
from tftrain.data.batches import named_leaves
from tftrain.data.number_types import Whole, rounds, whole_numbers
from tftrain.data.records import (
    THREADS,
    RandomAccessRecords,
    as_dataset,
    deterministic,
)
from tftrain.runtime.errors import DataError

EDGE = np.iinfo(np.int64)
EXAMPLES_BETWEEN_REPORTS = 256
PATIENCE_SECONDS = 10
# Float32 cannot tell the numbers of more classes apart.
MOST_CLASSES = 2**24


class DataSummary(NamedTuple):
    """The number of examples, and the lowest and highest target where they are integers.

    Those of shape () or (1,) are `labels`; whether `others` are labels too is for the loss to say. `features` tells of
    the whole numbers of each array of x, None where these are floats. `classes` are those of the examples of a stream,
    where all targets are classes.
    """

    examples: int
    labels: tuple[int, int] | None
    others: tuple[int, int] | None = None
    features: tuple[Whole | None, ...] = ()
    classes: np.ndarray | None = None


class NotFinite(NamedTuple):
    """How many values are NaN or Inf, and of the first one its record, counted from 0, and its place in that."""

    count: int
    record: int
    place: str


def validate_split(
    name: str,
    data: Batch | RandomAccessRecords | tf.data.Dataset,
    columns: Sequence[str] = (),
    *,
    regression: bool = False,
    ignored: int | None = None,
) -> DataSummary:
    """Read every example of a split once, refuse what cannot be trained on, and return a summary.

    Args:
        name: of the split.
        data: its examples.
        columns: the names of the columns of x, where they have any.
        regression: whether integers that are no labels are targets too.
        ignored: a target that is no label.
    """
    if isinstance(data, Batch):
        summary = _survey_arrays(name, data, columns, ignored)
    else:
        summary = _survey_stream(name, data, ignored)
    if not summary.labels:
        return summary
    lowest, highest = summary.labels
    if regression and not 0 <= lowest <= highest < MOST_CLASSES:
        return summary._replace(labels=None, classes=None)
    _check_labels(name, data, lowest, highest)
    return summary


def first_not_finite(
    batch: Batch, columns: Sequence[str] = ()
) -> NotFinite | None:
    """Return the first NaN or Inf of arrays, and how many there are; None where there is none.

    Args:
        batch: the arrays.
        columns: the names of the columns of x, where they have any.
    """
    count = 0
    first_part = None
    first_place = None
    for part, leaf in named_leaves(batch).items():
        places = np.argwhere(_not_finite(leaf))
        if not len(places):
            continue
        count += len(places)
        if first_place is None or places[0][0] < first_place[0]:
            first_part = part
            first_place = places[0]
    if first_place is None:
        return None
    record, *position = first_place
    place = _describe_place(first_part, position, columns)
    return NotFinite(count, int(record), place)


def record_of(
    data: Batch | RandomAccessRecords | tf.data.Dataset, label: int
) -> int:
    """Return the first record with a label, counted from 0.

    Args:
        data: the examples of a split.
        label: a class.
    """
    if isinstance(data, Batch):
        return int(np.argmax(data.y.reshape(len(data.y)) == label))

    def target_of(*example: Tensor) -> Tensor:
        return tf.cast(tf.reshape(example[1], []), tf.int64)

    for number, target in enumerate(as_dataset(data).map(target_of)):
        if int(target) == label:
            return number
    raise AssertionError("the label is gone when the data is read again")


def _check_labels(
    name: str,
    data: Batch | RandomAccessRecords | tf.data.Dataset,
    low: int,
    high: int,
) -> None:
    if low < 0:
        raise DataError(
            f"{name}: integer targets are labels, counted from 0, but the lowest is {low} (first in record "
            f"{record_of(data, low)}, counted from 0); give the targets of a regression as floats"
        )
    if high >= MOST_CLASSES:
        raise DataError(
            f"{name}: integer targets are labels, and {high} (first in record {record_of(data, high)}, counted from 0) "
            f"makes more than {MOST_CLASSES} classes; give the targets of a regression as floats"
        )


def are_labels(target: Any) -> bool:
    """Whether targets without their batch axis (anything with a dtype and a shape) can be class labels."""
    return not _are_floats(target) and tuple(target.shape) in ((), (1,))


def classes_of(y: Tensor) -> Tensor | None:
    """The class of each target, -1 where it is none; None where targets of such a shape are no classes.

    Args:
        y: [examples] or [examples, 1] of labels, or of floats, of which 0 and 1 are classes; or [examples, classes],
            rows with a single 1.
    """
    shape = y.shape[1:]
    if shape == [] or shape == [1]:
        single = tf.reshape(y, [-1])
        labels = tf.cast(single, tf.int64)
        if not y.dtype.is_floating:
            return labels
        return tf.where((single == 0) | (single == 1), labels, -1)
    if shape.rank != 1 or not shape.is_fully_defined():
        return None
    numbers = tf.cast(y, tf.int64) if y.dtype.is_bool else y
    ones = tf.cast(numbers == 1, tf.int64)
    is_binary = tf.reduce_all((numbers == 0) | (numbers == 1), 1)
    has_single_one = tf.reduce_sum(ones, 1) == 1
    return tf.where(is_binary & has_single_one, tf.argmax(ones, 1), -1)


def all_classes(classes: np.ndarray) -> np.ndarray | None:
    """Return the classes of targets that are no labels; None if some have no class, or if all have the same."""
    lowest = classes.min()
    if lowest < 0 or lowest == classes.max():
        return None
    return classes


def _survey_arrays(
    name: str, batch: Batch, columns: Sequence[str], ignored: int | None
) -> DataSummary:
    if not len(batch.y):
        raise DataError(f"{name}: there are no examples")
    bad = first_not_finite(batch, columns)
    if bad:
        _refuse_data(name, bad)
    leaves = [_within_int64(name, leaf) for leaf in tf.nest.flatten(batch.x)]
    features = tuple(map(whole_numbers, leaves))
    count = len(batch.y)
    if _are_floats(batch.y) or not batch.y.size:
        return DataSummary(count, None, features=features)
    labels = batch.y
    if ignored is not None:
        labels = labels[labels != ignored]
    label_range = (0, 0)
    if labels.size:
        label_range = (int(labels.min()), int(labels.max()))
    summary = _summarize_targets(batch.y[0], count, label_range)
    return summary._replace(features=features)


def _survey_stream(
    name: str, data: RandomAccessRecords | tf.data.Dataset, ignored: int | None
) -> DataSummary:
    dataset = as_dataset(data)
    feature_spec, target_spec = data.element_spec[:2]
    scan = _scan_stream(name, dataset, ignored, target_spec.shape.rank < 2)
    if scan.ranges is None:
        raise DataError(f"{name}: there are no examples")
    if scan.bad_count:
        place = _first_bad_place(dataset, scan.first_bad)
        _refuse_data(name, NotFinite(scan.bad_count, scan.first_bad, place))
    target_range, *feature_ranges = scan.ranges
    leaves = tf.nest.flatten(feature_spec)
    features = tuple(
        feature_range if leaf.dtype.is_integer else None
        for feature_range, leaf in zip(feature_ranges, leaves, strict=True)
    )
    classes = np.concatenate(scan.classes) if scan.classes else None
    if classes is not None and not are_labels(target_spec):
        classes = all_classes(classes)
    if _are_floats(target_spec):
        return DataSummary(scan.count, None, features=features, classes=classes)
    label_range = (0, 0)
    if target_range.low <= target_range.high:
        label_range = (target_range.low, target_range.high)
    summary = _summarize_targets(target_spec, scan.count, label_range)
    return summary._replace(features=features, classes=classes)


class _Scan(NamedTuple):
    """What a pass over a stream counted."""

    count: int  # of examples
    bad_count: int  # of numbers that are not finite
    first_bad: int  # the first example with such a number
    ranges: list[Whole] | None  # of the target and of each feature
    classes: list[np.ndarray]  # of the examples, a part after the other


def _scan_stream(
    name: str, dataset: tf.data.Dataset, ignored: int | None, has_classes: bool
) -> _Scan:
    @tf.autograph.experimental.do_not_convert
    def measure(*example):
        batch = Batch(*example)
        counts = [
            _count_not_finite(leaf) for leaf in named_leaves(batch).values()
        ]
        classes = classes_of(batch.y[tf.newaxis])
        label = tf.constant(-1, tf.int64) if classes is None else classes[0]
        features = tuple(_range_of(leaf) for leaf in tf.nest.flatten(batch.x))
        return tf.add_n(counts), _range_of(batch.y, ignored), label, features

    count = 0
    bad_count = 0
    first_bad = -1
    ranges: list[Whole] | None = None
    classes = []
    next_report = time.monotonic() + PATIENCE_SECONDS
    measured = dataset.map(
        measure, num_parallel_calls=THREADS, deterministic=True
    )
    measured = deterministic(measured.batch(EXAMPLES_BETWEEN_REPORTS))
    for bad, target, labels, features in measured.as_numpy_iterator():
        if not bad_count and bad.any():
            first_bad = count + int(np.argmax(bad > 0))
        count += len(bad)
        bad_count += int(bad.sum())
        parts = [_join_ranges(part) for part in (target, *features)]
        if ranges is not None:
            pairs = zip(ranges, parts, strict=True)
            parts = [old.joined(new) for old, new in pairs]
        ranges = parts
        if has_classes:
            classes.append(labels)
        if time.monotonic() > next_report:
            next_report += PATIENCE_SECONDS
            _tell_progress(name, count, dataset)
    return _Scan(count, bad_count, first_bad, ranges, classes)


def _first_bad_place(dataset: tf.data.Dataset, index: int) -> str:
    example = Batch(*next(iter(dataset.skip(index).as_numpy_iterator())))
    for part, leaf in named_leaves(example).items():
        places = np.argwhere(_not_finite(leaf))
        if len(places):
            return _describe_place(part, places[0])
    raise AssertionError("the example is finite when read again")


def _range_of(leaf: tf.Tensor, ignored: int | None = None) -> tf.Tensor:
    """The lowest and the highest of whole numbers, but for one, and how many float32 rounds, [3] int64."""
    if leaf.dtype.is_floating:
        return tf.zeros([3], tf.int64)
    numbers = tf.cast(leaf, tf.int64)
    inexact = tf.math.count_nonzero(rounds(numbers))
    low = high = numbers
    if ignored is not None:
        low = tf.where(
            numbers == ignored, tf.constant(EDGE.max, tf.int64), numbers
        )
        high = tf.where(
            numbers == ignored, tf.constant(EDGE.min, tf.int64), numbers
        )
    return tf.stack([tf.reduce_min(low), tf.reduce_max(high), inexact])


def _join_ranges(ranges: np.ndarray) -> Whole:
    """The range of several examples, from theirs, [examples, 3]."""
    lows, highs, rounded = ranges.T
    return Whole(int(lows.min()), int(highs.max()), bool(rounded.any()))


def _within_int64(name: str, leaf: np.ndarray) -> np.ndarray:
    """Return whole numbers unchanged; raise DataError if int64 cannot hold them."""
    if leaf.dtype.kind == "u" and leaf.size and leaf.max() > EDGE.max:
        raise DataError(
            f"{name}: x holds the whole number {leaf.max()}; expected one of at most {EDGE.max} (int64)"
        )
    return leaf


def _tell_progress(name: str, count: int, dataset: tf.data.Dataset) -> None:
    """Print how far the pass over the data is; of a dataset that never ends this is the only sign."""
    size = int(dataset.cardinality())
    end = "; a tf.data.Dataset that never ends needs take(n), as an epoch has an end"
    if size >= 0:
        end = f" of {size}"
    print(
        f"{name}: looked at {count} examples{end}", file=sys.stderr, flush=True
    )


def _summarize_targets(
    target: Any, count: int, label_range: tuple[int, int]
) -> DataSummary:
    if are_labels(target):
        return DataSummary(count, label_range)
    return DataSummary(count, None, label_range)


def _are_floats(target: Any) -> bool:
    return tf.as_dtype(target.dtype).is_floating


def _not_finite(leaf: Any) -> np.ndarray:
    """Which values are NaN or Inf once they are float32; whole numbers are finite."""
    leaf = np.asarray(leaf)
    if leaf.dtype.kind != "f":
        return np.zeros((0,) * leaf.ndim, bool)
    with np.errstate(over="ignore"):
        return ~np.isfinite(leaf.astype(np.float32, copy=False))


def _count_not_finite(leaf: tf.Tensor) -> tf.Tensor:
    if not leaf.dtype.is_floating:
        return tf.constant(0, tf.int64)
    return tf.math.count_nonzero(~tf.math.is_finite(tf.cast(leaf, tf.float32)))


def _describe_place(
    part: str, position: np.ndarray, columns: Sequence[str] = ()
) -> str:
    if len(position) == 0:
        return part
    if part == "x" and columns:
        return f"x column {position[0]} ('{columns[position[0]]}')"
    if len(position) == 1:
        return f"{part} column {position[0]}"
    return f"{part} at {[int(number) for number in position]}"


def _refuse_data(name: str, bad: NotFinite) -> None:
    what = "value is" if bad.count == 1 else "values are"
    raise DataError(
        f"{name}: {bad.count} {what} NaN or Inf, the first in record {bad.record} (counted from 0), {bad.place}"
    )
