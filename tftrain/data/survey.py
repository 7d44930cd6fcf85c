"""What a data set holds, split by split, and whether its splits are alike."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch
from tftrain.data.batches import Split, named_leaves
from tftrain.data.number_types import Whole
from tftrain.data.preprocessing import Preprocess
from tftrain.data.records import RandomAccessRecords, as_dataset
from tftrain.data.source import column_names, read_source
from tftrain.data.splits import How
from tftrain.data.summary import (
    DataSummary,
    all_classes,
    classes_of,
    record_of,
    validate_split,
)
from tftrain.runtime.errors import DataError


@dataclass(frozen=True)
class DataOptions:
    """How the data of a run is divided, prepared and served; shares are of all examples, 0 for none."""

    batch_size: int | Literal["full"] = 32
    shuffle: bool = True
    validation: float = 0.0
    test: float = 0.0
    split: How = "auto"
    # The feature that says which examples stay together.
    groups: str | int | None = None
    split_seed: int = 0
    drop_remainder: bool = False
    preprocess: tuple[Preprocess, ...] = ()
    # In examples; arrays are always shuffled as a whole.
    shuffle_buffer: int = 10_000
    # Whether to keep the examples of a tf.data.Dataset in memory.
    cache: bool = False


class SourceSurvey(NamedTuple):
    """What was found by reading all examples of a source, of each split and over all of them.

    Args:
        splits: by name.
        labels: the lowest and highest class label, None where targets are no labels.
        others: the lowest and highest of whole numbers that are no labels.
        features: of each array of x, None where it is of floats.
        targets: the classes of the training examples, where these are divided by class.
        classes: of the training examples of a stream.
    """

    splits: dict[str, Split]
    labels: tuple[int, int] | None
    others: tuple[int, int] | None
    features: tuple[Whole | None, ...]
    targets: np.ndarray | None
    classes: np.ndarray | None


def survey_source(
    source: Any,
    options: DataOptions,
    regression: bool,
    ignored_label: int | None,
) -> SourceSurvey:
    """The source's own splits with their sizes, and over all of them the ranges of labels and of other integers."""
    splits, surveys, columns = {}, {}, column_names(source)
    cache = options.cache
    for name, data in read_source(
        source,
        is_divided=bool(options.validation or options.test) and not cache,
    ).items():
        data = (
            as_dataset(data).cache()
            if cache and not isinstance(data, Batch)
            else data
        )
        surveys[name] = validate_split(
            name,
            data,
            columns.get(name, ()),
            regression=regression,
            ignored=ignored_label,
        )
        splits[name] = Split(data, surveys[name].examples)
    _check_alike({name: survey.data for name, survey in splits.items()})
    labels = {name: survey.labels for name, survey in surveys.items()}
    joined = _join_ranges([*labels.values()])
    if not regression or joined and joined[1] == 1:
        _tell_unseen_labels(splits, labels)
    integer_range = _join_ranges([survey.others for survey in surveys.values()])
    features = [
        functools.reduce(Whole.joined, ranges) if None not in ranges else None
        for ranges in zip(
            *(survey.features for survey in surveys.values()), strict=True
        )
    ]
    are_classes = (
        not regression
        or options.split == "stratified"
        or (joined is not None and joined[1] == 1)
    )
    targets = (
        _classes_of(splits["train"].data, surveys["train"])
        if are_classes
        else None
    )
    return SourceSurvey(
        splits,
        joined,
        integer_range,
        tuple(features),
        targets,
        surveys["train"].classes,
    )


def _classes_of(
    data: Batch | RandomAccessRecords | tf.data.Dataset, known: DataSummary
) -> np.ndarray | None:
    """The class of each example, [examples]; None where the targets are no classes."""
    if not isinstance(data, Batch):
        return known.classes
    if known.labels:
        return data.y.reshape(len(data.y))
    classes = (
        None
        if known.others is not None and data.y.ndim != 2
        else classes_of(tf.constant(data.y))
    )
    return None if classes is None else all_classes(classes.numpy())


def _tell_unseen_labels(
    splits: dict[str, Split], labels: dict[str, tuple[int, int] | None]
) -> None:
    """Warns of labels that are outside those of the training examples, which no model can learn."""
    if None in labels.values():
        return
    low, high = labels["train"]
    for name, label_range in labels.items():
        unseen = next(
            (
                label
                for label in reversed(label_range)
                if not low <= label <= high
            ),
            None,
        )
        if unseen is not None:
            record = record_of(splits[name].data, unseen)
            message = f"{name}: label {unseen} (first in record {record}, counted from 0) is not among those of train"
            warnings.warn(
                f"{message}, which go from {low} to {high}", stacklevel=2
            )


def _join_ranges(
    ranges: list[tuple[int, int] | None],
) -> tuple[int, int] | None:
    if None in ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _check_alike(
    splits: dict[str, Batch | RandomAccessRecords | tf.data.Dataset],
) -> None:
    """Every split has the parts and the shapes of the training examples."""
    shapes = {name: _part_shapes(data) for name, data in splits.items()}
    for name, own_shapes in shapes.items():
        for part, shape in shapes["train"].items():
            if own_shapes.get(part) != shape:
                raise DataError(
                    f"{name}: {part} of an example has the shape {own_shapes.get(part)}; in train it has {shape}"
                )


def _part_shapes(
    data: Batch | RandomAccessRecords | tf.data.Dataset,
) -> dict[str, list | None]:
    if isinstance(data, Batch):
        return {
            name: list(leaf.shape[1:])
            for name, leaf in named_leaves(data._replace(weight=None)).items()
        }
    specs = named_leaves(Batch(*data.element_spec)._replace(weight=None))
    return {name: spec.shape.as_list() for name, spec in specs.items()}


def one_hot_classes(
    data: Batch | RandomAccessRecords | tf.data.Dataset,
    classes: np.ndarray | None,
) -> int | None:
    """How many classes there are where targets are rows with one 1 in them; `classes` are those of a stream."""
    if not isinstance(data, Batch):
        shape = data.element_spec[1].shape
        return (
            shape[0]
            if classes is not None and shape.rank == 1 and shape[0] > 1
            else None
        )
    if data.y.ndim != 2 or data.y.shape[1] < 2:
        return None
    is_one_hot = np.all((data.y == 0) | (data.y == 1)) and np.all(
        data.y.sum(axis=1) == 1
    )
    return data.y.shape[1] if is_one_hot else None
