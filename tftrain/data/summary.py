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
from tftrain.data.records import THREADS, RandomAccessRecords, as_dataset, deterministic
from tftrain.runtime.errors import DataError

EDGE = np.iinfo(np.int64)
EXAMPLES_BETWEEN_REPORTS = 256
PATIENCE_SECONDS = 10
MOST_CLASSES = 2**24  # of more, float32 cannot tell the numbers apart


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
    """Look through a split, and summarize it.

    `columns` are the names of those of x, where they have any; `regression` says that integers that are no labels are
    targets too; `ignored` is a target that is no label.

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
    if (
        summary.labels
        and regression
        and not 0 <= summary.labels[0] <= summary.labels[1] < MOST_CLASSES
    ):
        return summary._replace(labels=None, classes=None)
    if summary.labels:
        _check_labels(name, data, *summary.labels)
    return summary


def first_not_finite(batch: Batch, columns: Sequence[str] = ()) -> NotFinite | None:
    """Return the first NaN or Inf of arrays, and how many there are; None where there is none.

    Args:
        batch: the arrays.
        columns: the names of the columns of x, where they have any.
    """
    bad = {
        part: np.argwhere(_not_finite(leaf))
        for part, leaf in named_leaves(batch).items()
    }
    bad = {part: places for part, places in bad.items() if len(places)}
    if not bad:
        return None
    part, places = min(bad.items(), key=lambda item: item[1][0][0])
    count = sum(len(places) for places in bad.values())
    return NotFinite(
        count, int(places[0][0]), _describe_place(part, places[0][1:], columns)
    )


def record_of(data: Batch | RandomAccessRecords | tf.data.Dataset, label: int) -> int:
    """Return the first record with a label, counted from 0.

    Args:
        data: the examples of a split.
        label: a class.
    """
    if isinstance(data, Batch):
        return int(np.argmax(data.y.reshape(len(data.y)) == label))
    targets = (
        as_dataset(data)
        .map(lambda *parts: tf.cast(tf.reshape(parts[1], []), tf.int64))
        .enumerate()
    )
    return int(next(number for number, target in targets if int(target) == label))


def _check_labels(
    name: str, data: Batch | RandomAccessRecords | tf.data.Dataset, low: int, high: int
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
        known = (
            (single == 0) | (single == 1)
            if y.dtype.is_floating
            else tf.ones_like(single, tf.bool)
        )
        return tf.where(known, tf.cast(single, tf.int64), -1)
    if shape.rank != 1 or not shape.is_fully_defined():
        return None
    numbers = tf.cast(y, tf.int64) if y.dtype.is_bool else y
    ones = tf.cast(numbers == 1, tf.int64)
    is_one_hot = tf.reduce_all((numbers == 0) | (numbers == 1), 1) & (
        tf.reduce_sum(ones, 1) == 1
    )
    return tf.where(is_one_hot, tf.argmax(ones, 1), -1)


def all_classes(classes: np.ndarray) -> np.ndarray | None:
    """The classes of targets that are no labels; None where some are none, or where there is one alone."""
    return None if classes.min() < 0 or classes.min() == classes.max() else classes


def _survey_arrays(
    name: str, batch: Batch, columns: Sequence[str], ignored: int | None
) -> DataSummary:
    if not len(batch.y):
        raise DataError(f"{name}: there are no examples")
    bad = first_not_finite(batch, columns)
    if bad:
        _refuse_data(name, bad)
    features = tuple(
        whole_numbers(_within_int64(name, leaf)) for leaf in tf.nest.flatten(batch.x)
    )
    if _are_floats(batch.y) or not batch.y.size:
        return DataSummary(len(batch.y), None, features=features)
    known = batch.y if ignored is None else batch.y[batch.y != ignored]
    summary = _summarize_targets(
        batch.y[0],
        len(batch.y),
        (int(known.min()), int(known.max())) if known.size else (0, 0),
    )
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
        counts = [_count_not_finite(leaf) for leaf in named_leaves(batch).values()]
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
    measured = dataset.map(measure, num_parallel_calls=THREADS, deterministic=True)
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
        low = tf.where(numbers == ignored, tf.constant(EDGE.max, tf.int64), numbers)
        high = tf.where(numbers == ignored, tf.constant(EDGE.min, tf.int64), numbers)
    return tf.stack([tf.reduce_min(low), tf.reduce_max(high), inexact])


def _join_ranges(ranges: np.ndarray) -> Whole:
    """The range of several examples, from theirs, [examples, 3]."""
    return Whole(
        int(ranges[:, 0].min()), int(ranges[:, 1].max()), bool(ranges[:, 2].any())
    )


def _within_int64(name: str, leaf: np.ndarray) -> np.ndarray:
    """Whole numbers as they are; raises DataError where int64 does not hold them."""
    if leaf.dtype.kind == "u" and leaf.size and leaf.max() > EDGE.max:
        raise DataError(
            f"{name}: x holds the whole number {leaf.max()}; expected one of at most {EDGE.max} (int64)"
        )
    return leaf


def _tell_progress(name: str, count: int, dataset: tf.data.Dataset) -> None:
    """Say what takes so long; of what never ends nothing else would be heard."""
    size = int(dataset.cardinality())
    known = (
        f" of {size}"
        if size >= 0
        else "; a tf.data.Dataset that never ends needs take(n), as an epoch has an end"
    )
    print(f"{name}: looked at {count} examples{known}", file=sys.stderr, flush=True)


def _summarize_targets(
    target: Any, count: int, label_range: tuple[int, int]
) -> DataSummary:
    return (
        DataSummary(count, label_range)
        if are_labels(target)
        else DataSummary(count, None, label_range)
    )


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
    return (
        f"{part} column {position[0]}"
        if len(position) == 1
        else f"{part} at {[int(i) for i in position]}"
    )


def _refuse_data(name: str, bad: NotFinite) -> None:
    what = "value is" if bad.count == 1 else "values are"
    raise DataError(
        f"{name}: {bad.count} {what} NaN or Inf, the first in record {bad.record} (counted from 0), {bad.place}"
    )
