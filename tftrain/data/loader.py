"""From what a data builder returned to the feeds of a run."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, BatchSource, DataSpec, Tree
from tftrain.data.array_source import ArraySource
from tftrain.data.batches import Split, map_leaves, named_leaves, take
from tftrain.data.groups import take_groups
from tftrain.data.number_types import PLAIN, Numbers, Whole
from tftrain.data.preprocessing import Chain, Fitted, Preprocess, fit, tell_rounding
from tftrain.data.records import RandomAccessRecords, as_dataset
from tftrain.data.sampler import BatchOrder
from tftrain.data.source import column_names, read_source
from tftrain.data.splits import How, split
from tftrain.data.stream_source import StreamSource
from tftrain.data.summary import (
    DataSummary,
    all_classes,
    classes_of,
    first_not_finite,
    record_of,
    validate_split,
)
from tftrain.runtime.errors import DataError

EVALUATION_BATCH = (
    256  # evaluation batches are at least this large: no gradients need to be held
)
SAMPLE_EXAMPLES = 32


@dataclass(frozen=True)
class DataOptions:
    """How the data of a run is divided, prepared and served; shares are of all examples, 0 for none."""

    batch_size: int | Literal["full"] = 32
    shuffle: bool = True
    validation: float = 0.0
    test: float = 0.0
    split: How = "auto"
    groups: str | int | None = (
        None  # the feature that says which examples stay together
    )
    split_seed: int = 0
    drop_remainder: bool = False
    preprocess: tuple[Preprocess, ...] = ()
    shuffle_buffer: int = 10_000  # examples; arrays are always shuffled as a whole
    cache: bool = False  # keep the examples of a tf.data.Dataset in memory


class Data(NamedTuple):
    """Everything a run needs to know of its data.

    `sample` is the first training batch as arrays, cut to a few examples. `label_range` is the lowest and the highest
    label where the targets are labels; `integer_range` that of the targets where they are integers of another shape.
    `large` tells, by the names that messages use, of the arrays of x that hold whole numbers which float32 rounds, and
    `cast_for` prepares the data anew, with whole numbers handed on in another way.
    """

    train: BatchSource
    validation: BatchSource | None
    test: BatchSource | None
    facts: DataSpec
    sample: Batch
    label_range: tuple[int, int] | None
    integer_range: tuple[int, int] | None
    batch_size: int  # of training
    chain: Chain
    example: tuple[
        Tree, tf.TensorSpec
    ]  # the specs of its features and target, before preprocessing
    has_whole: bool  # whether x holds whole numbers or truth values
    large: dict[str, Whole]
    cast_for: Callable[[Numbers], Data]

    @property
    def splits(self) -> list[str]:
        """The splits that there are, the one that results are compared by first."""
        sources = {
            "validation": self.validation,
            "test": self.test,
            "train": self.train,
        }
        return [name for name, source in sources.items() if source is not None]


def build_data(
    source: Any,
    options: DataOptions,
    seed: int,
    *,
    regression: bool = False,
    ignored_label: int | None = None,
) -> Data:
    """Check, split and prepare a source.

    `source` is what a data builder returned (see `source.read`); `seed` sets the order and random preprocessing;
    `regression` says that whole numbers which can be no class labels are targets too. What the loss ignores among
    integer targets is no label.

    Args:
        source: what a data builder returned; see `tftrain.data.source.read_source`.
        options: how it is divided, prepared and served.
        seed: of the order and of random preprocessing.
        regression: whether whole numbers that can be no class labels are targets too.
        ignored_label: an integer target that is no label, for the loss ignores it.
    """
    groups = None
    if options.groups is not None:
        source, groups = take_groups(source, options.groups)
    known = _survey_source(source, options, regression, ignored_label)
    draw = (options.validation, options.test, options.split_seed, options.split)
    splits = split(known.splits, *draw, known.targets, groups)
    _batch_size(
        options.batch_size, splits["train"]
    )  # too few examples are told before what they hold
    if known.labels and known.labels[0] == known.labels[1] and not regression:
        raise DataError(
            f"all labels are {known.labels[0]}: there is one class alone, and nothing to tell apart"
        )
    return _prepare_data(splits, known, options, seed, PLAIN)


def _prepare_data(
    splits: dict[str, Split],
    known: _Known,
    options: DataOptions,
    seed: int,
    numbers: Numbers,
) -> Data:
    train_split = splits["train"]
    batch_size = _batch_size(options.batch_size, train_split)
    if known.labels:
        classes = known.labels[1] + 1
    else:
        classes = _one_hot_classes(train_split.data, known.classes)
    rounded = [feature is not None and feature.is_rounded for feature in known.features]
    chain = fit(options.preprocess, train_split, classes, seed, numbers, rounded)
    train = _make_source(
        train_split,
        chain.fitted,
        training=True,
        batch_size=batch_size,
        seed=seed,
        # The order within a batch has no meaning.
        shuffle=options.shuffle and batch_size < train_split.examples,
        drop_remainder=options.drop_remainder,
        shuffle_buffer=options.shuffle_buffer,
    )
    sample = _take_sample(train)
    bad_value = first_not_finite(sample)
    if bad_value:
        raise DataError(
            f"preprocessing makes NaN or Inf of finite values, the first in {bad_value.place}"
        )
    if numbers is PLAIN:
        tell_rounding(chain, train_split)
    example = Batch(*_example_of(train_split.data))
    feature_types = [tf.as_dtype(leaf.dtype) for leaf in tf.nest.flatten(example.x)]
    return Data(
        train=train,
        validation=_evaluation_feed(splits.get("validation"), chain, batch_size),
        test=_evaluation_feed(splits.get("test"), chain, batch_size),
        facts=chain.facts,
        sample=sample,
        label_range=known.labels,
        integer_range=known.others,
        batch_size=batch_size,
        chain=chain,
        example=_specs_of(train_split.data),
        has_whole=not all(dtype.is_floating for dtype in feature_types),
        large=_rounded_features(example, known),
        cast_for=functools.partial(_prepare_data, splits, known, options, seed),
    )


def _evaluation_feed(
    split: Split | None, chain: Chain, batch_size: int
) -> BatchSource | None:
    if split is None:
        return None
    size = min(split.examples, evaluation_batch(batch_size))
    return _make_source(split, chain.fitted, training=False, batch_size=size)


def _rounded_features(example: Batch, known: _Known) -> dict[str, Whole]:
    """Return, by name, the features that hold whole numbers which float32 rounds."""
    features = zip(named_leaves(example), known.features, strict=False)
    return {
        name: feature
        for name, feature in features
        if feature is not None and feature.is_rounded
    }


def evaluation_batch(batch_size: int) -> int:
    """The examples of a batch that is evaluated, where training has batches of this size."""
    return max(batch_size, EVALUATION_BATCH)


def _example_of(data: Batch | RandomAccessRecords | tf.data.Dataset) -> tuple:
    """The parts of an example, for their names."""
    return data[:3] if isinstance(data, Batch) else data.element_spec


def _specs_of(
    data: Batch | RandomAccessRecords | tf.data.Dataset,
) -> tuple[Tree, tf.TensorSpec]:
    """The shapes and the types of an example's features and target, without the batch axis that arrays have."""
    if not isinstance(data, Batch):
        return data.element_spec[:2]
    return tf.nest.map_structure(
        lambda leaf: tf.TensorSpec(leaf.shape[1:], leaf.dtype), tuple(data[:2])
    )


class _Known(NamedTuple):
    """What looking through a source told: of each split, and over all of them."""

    splits: dict[str, Split]
    labels: tuple[int, int] | None
    others: tuple[int, int] | None
    features: tuple[Whole | None, ...]
    targets: (
        np.ndarray | None
    )  # the classes of the training examples, where they are divided by class
    classes: np.ndarray | None  # of the training examples of a stream


def _survey_source(
    source: Any, options: DataOptions, regression: bool, ignored_label: int | None
) -> _Known:
    """The source's own splits with their sizes, and over all of them the ranges of labels and of other integers."""
    splits, surveys, columns = {}, {}, column_names(source)
    cache = options.cache
    for name, data in read_source(
        source, is_divided=bool(options.validation or options.test) and not cache
    ).items():
        data = (
            as_dataset(data).cache() if cache and not isinstance(data, Batch) else data
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
        _classes_of(splits["train"].data, surveys["train"]) if are_classes else None
    )
    return _Known(
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
            (label for label in reversed(label_range) if not low <= label <= high), None
        )
        if unseen is not None:
            record = record_of(splits[name].data, unseen)
            message = f"{name}: label {unseen} (first in record {record}, counted from 0) is not among those of train"
            warnings.warn(f"{message}, which go from {low} to {high}", stacklevel=2)


def _join_ranges(ranges: list[tuple[int, int] | None]) -> tuple[int, int] | None:
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


def _one_hot_classes(
    data: Batch | RandomAccessRecords | tf.data.Dataset, classes: np.ndarray | None
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


def _batch_size(requested: int | str, train: Split) -> int:
    examples = train.examples
    if requested == "full":
        return examples
    if requested > examples:
        batched = isinstance(train.data, tf.data.Dataset)
        hint = (
            "; if these are batches, remove .batch(): the run makes its own"
            if batched
            else ""
        )
        raise DataError(
            f"batch_size {requested} is more than the {examples} example{'s' if examples > 1 else ''} of the training "
            f"split; `batch_size: full` takes them all{hint}"
        )
    return requested


def _make_source(part: Split, fitted: list[Fitted], **order) -> BatchSource:
    feed = ArraySource if isinstance(part.data, Batch) else StreamSource
    return feed(part.data, BatchOrder(part.examples, **order), fitted)


def _take_sample(feed: BatchSource) -> Batch:
    return take(
        map_leaves(np.asarray, feed.batch(feed.serve(0, 1), tf.constant(0))),
        slice(SAMPLE_EXAMPLES),
    )
