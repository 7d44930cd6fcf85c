"""From what a data builder returned to the feeds of a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, BatchSource, DataSpec, Tree
from tftrain.data.array_source import ArraySource
from tftrain.data.batches import Split, map_leaves, named_leaves, take
from tftrain.data.groups import take_groups
from tftrain.data.number_types import PLAIN, Numbers, Whole
from tftrain.data.preprocessing import Chain, Fitted, fit, tell_rounding
from tftrain.data.records import RandomAccessRecords
from tftrain.data.sampler import BatchOrder
from tftrain.data.splits import split
from tftrain.data.stream_source import StreamSource
from tftrain.data.summary import (
    first_not_finite,
)
from tftrain.data.survey import (
    DataOptions,
    SourceSurvey,
    one_hot_classes,
    survey_source,
)
from tftrain.runtime.errors import DataError

EVALUATION_BATCH = 256  # evaluation batches are at least this large: no gradients need to be held
SAMPLE_EXAMPLES = 32


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
    known = survey_source(source, options, regression, ignored_label)
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
    known: SourceSurvey,
    options: DataOptions,
    seed: int,
    numbers: Numbers,
) -> Data:
    train_split = splits["train"]
    batch_size = _batch_size(options.batch_size, train_split)
    if known.labels:
        classes = known.labels[1] + 1
    else:
        classes = one_hot_classes(train_split.data, known.classes)
    rounded = [
        feature is not None and feature.is_rounded for feature in known.features
    ]
    chain = fit(
        options.preprocess, train_split, classes, seed, numbers, rounded
    )
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
    feature_types = [
        tf.as_dtype(leaf.dtype) for leaf in tf.nest.flatten(example.x)
    ]
    return Data(
        train=train,
        validation=_evaluation_feed(
            splits.get("validation"), chain, batch_size
        ),
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


def _rounded_features(example: Batch, known: SourceSurvey) -> dict[str, Whole]:
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
