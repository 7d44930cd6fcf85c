"""Preprocessing steps, one after the other, with what each learned from the training split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, DataSpec, Tensor, Tree
from tftrain.data.batches import Split, map_leaves, named_leaves, take
from tftrain.data.number_types import (
    PLAIN,
    Numbers,
    cast_numbers,
    cast_ready,
    rounding_of,
    settings_of,
)
from tftrain.data.records import RandomAccessRecords, as_dataset
from tftrain.runtime.errors import DataError

CHUNK = 1024  # examples in a batch of `Preprocess.fit`
LOOKED_AT = 2**16  # examples whose rounding to float32 is measured
# A step whose arrays would be larger than this is not applied ahead, but in the graph, batch by batch.
AHEAD_BYTES = 2**31


class Preprocess(NamedTuple):
    """A change of the examples.

    `apply(x, y, state, seed, training) -> (x, y)` works in TensorFlow operations on a leading batch axis; `seed` is an
    int64 pair. `fit(batches, facts) -> state` sees the training split as the steps before this one leave it.
    A `random` step draws from `seed` in training, and is deterministic otherwise.

    Features and targets come with the precision of the data: float64 where it is that, whole numbers as float32 where
    that holds all of them, else as int64. A step that cannot compute with these is given whole numbers as integers,
    or float32.
    """

    apply: Callable[[Tree, Tensor, Tree, Tensor, bool], tuple[Tree, Tensor]]
    fit: Callable[[Iterable[Batch], DataSpec], Tree] = lambda batches, facts: ()
    random: bool = False


class Fitted(NamedTuple):
    """A step with its state and the seed of its own random stream."""

    step: Preprocess
    state: Tree
    seed: int


class Chain(NamedTuple):
    """Fitted steps, each behind a cast of its inputs, with a cast for the model at the end."""

    fitted: list[Fitted]
    facts: DataSpec

    @property
    def steps(self) -> list[Fitted]:
        """All but the cast for the model."""
        return self.fitted[:-1]


def fit(
    steps: Iterable[Preprocess],
    train: Split,
    classes: int | None,
    seed: int,
    numbers: Numbers = PLAIN,
    rounded: Sequence[bool] = (),
) -> Chain:
    """Fit each step in order to what the steps before it leave.

    Args:
        steps: the preprocessing.
        train: the training split.
        classes: of the targets, where they are labels.
        seed: of the random steps.
        numbers: how whole numbers are handed on.
        rounded: for each array of x whether float32 would round some of its whole numbers.

    Returns:
        The steps with what they learned, and the facts of the data that comes out at the end.
    """
    fitted: list[Fitted] = []
    first_example = next(_read_chunks(train, 1))
    for place, step in enumerate(steps, 1):
        own_seed = int(
            np.random.SeedSequence([seed, place]).generate_state(1)[0]
        )
        fitted = _fitted_with(
            step,
            own_seed,
            fitted,
            train,
            first_example,
            classes,
            numbers,
            rounded,
        )
    # Only the first cast sees the data's own integers; later ones see what a step made.
    own_integers = () if fitted else rounded
    chain = [*fitted, _cast_step(cast_ready, numbers, own_integers)]
    prepared_example = apply(chain, first_example, 0, False)
    return Chain(chain, describe(prepared_example, classes))


def _cast_step(
    make: Callable, numbers: Numbers, rounded: Sequence[bool]
) -> Fitted:
    """A cast, whose state says which it is."""
    return Fitted(
        Preprocess(make(numbers, rounded)), (numbers.name, list(rounded)), 0
    )


def _fitted_with(
    step: Preprocess,
    seed: int,
    fitted: list[Fitted],
    train: Split,
    first_example: Batch,
    classes: int | None,
    numbers: Numbers,
    rounded: Sequence[bool],
) -> list[Fitted]:
    """The chain with one step more, behind a cast to the first types of numbers that it can compute with."""
    own_integers = () if fitted else rounded
    example = apply(fitted, first_example, 0, False)
    first_failure: Exception | None = None
    for setting in settings_of(example, numbers, own_integers):
        chain = [*fitted, _cast_step(cast_numbers, setting, own_integers)]
        try:
            spec = describe(apply(chain, first_example, 0, False), classes)
            chunks = _read_chunks(train, CHUNK)
            batches = (apply(chain, chunk, 0, False) for chunk in chunks)
            state = step.fit(batches, spec)
            chain_with_step = [*chain, Fitted(step, state, seed)]
            for training in (False, True):
                apply(chain_with_step, first_example, 0, training)
            return chain_with_step
        except DataError:
            raise
        except Exception as error:
            # A user's function may raise anything for types that it does not compute with.
            if first_failure is None:
                first_failure = error
    raise first_failure


def apply(
    fitted: Iterable[Fitted], batch: Batch, step: Tensor, training: bool
) -> Batch:
    """Return a batch after preprocessing.

    Args:
        fitted: the steps.
        batch: the examples.
        step: of training, for random steps.
        training: whether random steps act.
    """
    x, y, weight, _ = map_leaves(tf.convert_to_tensor, batch)
    for preprocess, state, step_seed in fitted:
        seed = tf.stack(
            [tf.constant(step_seed, tf.int64), tf.cast(step, tf.int64)]
        )
        x, y = preprocess.apply(x, y, state, seed, training)
    if weight is not None:
        weight = tf.cast(weight, tf.float32)
    return Batch(x, y, weight)


def apply_ahead(
    fitted: list[Fitted], batch: Batch, training: bool
) -> tuple[Batch, list[Fitted]]:
    """Apply the steps before the first random one to whole arrays; return them, and the steps that are left.

    Args:
        fitted: the steps.
        batch: the arrays.
        training: whether random steps act.
    """
    remaining = list(fitted)
    with tf.device("CPU:0"):
        while remaining and not (training and remaining[0].step.random):
            next_step = remaining[:1]
            example = apply(next_step, take(batch, np.arange(1)), 0, False)
            size_after = _byte_count(example) * len(batch.y)
            if size_after > max(AHEAD_BYTES, _byte_count(batch)):
                break
            batch = map_leaves(np.asarray, apply(next_step, batch, 0, False))
            remaining = remaining[1:]
    return batch, remaining


def tell_rounding(chain: Chain, train: Split) -> None:
    """Warn of floats that lose their meaning where the model gets them as float32.

    Args:
        chain: the preprocessing.
        train: the training examples.
    """
    if isinstance(train.data, Batch):
        rows = np.unique(
            np.linspace(0, train.examples - 1, LOOKED_AT).astype(int)
        )
        batch = take(train.data, rows)
    else:
        batch = next(_read_chunks(train, CHUNK))
    example = apply(chain.steps, take(batch, slice(1)), 0, False)
    leaves = tf.nest.flatten(example[:2])
    if all(leaf.dtype != tf.float64 for leaf in leaves):
        return
    prepared = apply(chain.steps, batch, 0, False)._replace(weight=None)
    for name, leaf in named_leaves(prepared).items():
        columns = _as_columns(name, np.asarray(leaf))
        for number, column in enumerate(columns.T):
            rounding = rounding_of(column)
            if rounding:
                place = (
                    f"{name} column {number}" if columns.shape[1] > 1 else name
                )
                warnings.warn(f"{place} {rounding}", stacklevel=2)
                break


def _as_columns(name: str, values: np.ndarray) -> np.ndarray:
    """Values as a table of their features, [rows, features]; a feature of x is one along its last axis."""
    if name == "y":
        return values.reshape(len(values), -1)
    if values.ndim == 1:
        return values.reshape(-1, 1)
    return values.reshape(-1, values.shape[-1])


def describe(batch: Batch, classes: int | None) -> DataSpec:
    """Return what the shapes of a batch tell about the data.

    Args:
        batch: a sample.
        classes: how many; None where the targets are no classes.
    """
    shapes = tf.nest.map_structure(lambda leaf: tuple(leaf.shape[1:]), batch.x)
    return DataSpec(shapes, tuple(batch.y.shape[1:]), classes)


def has_fixed_shape(examples: RandomAccessRecords | tf.data.Dataset) -> bool:
    """Whether all examples have one shape, so that they can be put into a batch as they are."""
    specs = tf.nest.flatten(examples.element_spec)
    return all(spec.shape.is_fully_defined() for spec in specs)


def _read_chunks(split: Split, size: int) -> Iterator[Batch]:
    """All examples of a split in batches of up to `size`, in their own order."""
    if isinstance(split.data, Batch):
        for start in range(0, split.examples, size):
            yield take(split.data, slice(start, start + size))
        return
    if not has_fixed_shape(split.data):
        size = 1
    batches = iter(as_dataset(split.data).batch(size))
    # By count, because TensorFlow would print a message if it were asked beyond the end.
    for _ in range(0, split.examples, size):
        yield Batch(*next(batches))


def _byte_count(batch: Batch) -> int:
    leaves = tf.nest.flatten((batch.x, batch.y))
    return sum(np.asarray(leaf).nbytes for leaf in leaves)
