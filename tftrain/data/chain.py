"""Preprocessing steps, one after the other, with what each learned from the training split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Facts, Tensor, Tree
from tftrain.data.addressed import Addressed, serially
from tftrain.data.batches import map_leaves
from tftrain.data.splits import Split, take

CHUNK = 1024  # examples looked at together while fitting
AHEAD_BYTES = 2**31  # arrays that a step would make larger than this are left for the graph to make, batch by batch


class Preprocess(NamedTuple):
    """A change of the examples.

    `apply(x, y, state, seed, training) -> (x, y)` works in TensorFlow operations on a leading batch axis; `seed` is an
    int64 pair. `fit(batches, facts) -> state` sees the training split as the steps before this one leave it.
    A `random` step draws from `seed` in training, and is deterministic otherwise.
    """

    apply: Callable[[Tree, Tensor, Tree, Tensor, bool], tuple[Tree, Tensor]]
    fit: Callable[[Iterable[Batch], Facts], Tree] = lambda batches, facts: ()
    random: bool = False


class Fitted(NamedTuple):
    """A step with its state and the seed of its own random stream."""

    step: Preprocess
    state: Tree
    seed: int


def _cast(x: Tree, y: Tensor, state: Tree, seed: Tensor, training: bool) -> tuple[Tree, Tensor]:
    x = tf.nest.map_structure(lambda leaf: tf.cast(leaf, tf.float32), x)
    return x, tf.cast(y, tf.float32 if tf.as_dtype(y.dtype).is_floating else tf.int64)


CAST = Preprocess(_cast)


def fit(steps: Iterable[Preprocess], train: Split, classes: int | None, seed: int) -> tuple[list[Fitted], Facts]:
    """Fit a cast to float32 and then each step, in order; also the facts of the data that comes out at the end."""
    fitted: list[Fitted] = []
    first = next(_chunks(train, 1))
    for place, step in enumerate((CAST, *steps)):
        batches = (apply(fitted, batch, 0, False) for batch in _chunks(train, CHUNK))
        facts = describe(apply(fitted, first, 0, False), classes)
        own_seed = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        fitted = [*fitted, Fitted(step, step.fit(batches, facts), own_seed)]
    return fitted, describe(apply(fitted, first, 0, False), classes)


def apply(fitted: Iterable[Fitted], batch: Batch, step: Tensor, training: bool) -> Batch:
    """The batch of training step `step` after the given steps."""
    x, y, weight, _ = map_leaves(tf.convert_to_tensor, batch)
    for one in fitted:
        seed = tf.stack([tf.constant(one.seed, tf.int64), tf.cast(step, tf.int64)])
        x, y = one.step.apply(x, y, one.state, seed, training)
    return Batch(x, y, None if weight is None else tf.cast(weight, tf.float32))


def apply_ahead(fitted: list[Fitted], batch: Batch, training: bool) -> tuple[Batch, list[Fitted]]:
    """Whole arrays after the steps before the first random one, and the steps that are left to do."""
    rest = list(fitted)
    with tf.device("CPU:0"):
        while rest and not (training and rest[0].step.random):
            one = apply(rest[:1], take(batch, np.arange(1)), 0, False)
            if _bytes(one) * len(batch.y) > max(AHEAD_BYTES, _bytes(batch)):
                break
            batch = map_leaves(np.asarray, apply(rest[:1], batch, 0, False))
            rest = rest[1:]
    return batch, rest


def describe(batch: Batch, classes: int | None) -> Facts:
    """The facts that the shapes of a batch tell."""
    shapes = tf.nest.map_structure(lambda leaf: tuple(leaf.shape[1:]), batch.x)
    return Facts(shapes, tuple(batch.y.shape[1:]), classes)


def has_fixed_shape(examples: Addressed | tf.data.Dataset) -> bool:
    """Whether all examples have one shape, so that they can be put into a batch as they are."""
    return all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(examples.element_spec))


def _chunks(split: Split, size: int) -> Iterator[Batch]:
    """All examples of a split in batches of up to `size`, in their own order."""
    if isinstance(split.data, Batch):
        for start in range(0, split.examples, size):
            yield take(split.data, slice(start, start + size))
        return
    size = size if has_fixed_shape(split.data) else 1
    batches = iter(serially(split.data).batch(size))
    for _ in range(0, split.examples, size):  # never asks beyond the end, which TensorFlow would report
        yield Batch(*(*next(batches), None)[:3])


def _bytes(batch: Batch) -> int:
    return sum(np.asarray(leaf).nbytes for part in batch[:2] for leaf in tf.nest.flatten(part))
