"""Serves batches from a tf.data.Dataset."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tensor, Tree
from tftrain.data.chain import Fitted, apply, has_fixed_shape
from tftrain.data.errors import DataError
from tftrain.data.order import Order

THREADS = min(8, os.cpu_count() or 1)
BATCHES_READY = 2  # made while the step runs


class StreamFeed:
    """A feed over an unbatched tf.data.Dataset; a handle is its iterator, which each epoch begins anew.

    Each epoch is shuffled from (seed, epoch). Consecutive calls go on in the same iterator, so a handle's batches must
    be asked for in order; any other step is reached by skipping.
    Examples of differing shapes are preprocessed one by one, before they are put into a batch.
    """

    prepared = False

    def __init__(self, data: tf.data.Dataset, order: Order, fitted: list[Fitted]):
        self._data, self._order, self._fitted = data, order, fitted
        self._next_step = -1
        self.examples, self.steps_per_epoch = order.examples, order.steps_per_epoch
        # The pipeline is traced once: to build it anew takes 20 ms, in which many steps could be made.
        number = tf.TensorSpec([], tf.int64)
        self._begin = tf.function(self._begun, [tf.TensorSpec([], tf.resource), *[number] * 4], autograph=False)
        self._spec = self._pipeline(*map(tf.constant, np.zeros(4, np.int64))).element_spec
        for leaf in tf.nest.flatten(self._spec):
            if None in leaf.shape[1:].as_list():
                shape = ["any" if size is None else size for size in leaf.shape[1:]]
                raise DataError(
                    f"the examples have no fixed shape ({shape}); add `resize`, `pad` or `crop`, or remove .batch() if "
                    "these are batches: the run makes its own"
                )
        with tf.device("CPU:0"):
            self._iterator = tf.raw_ops.AnonymousIteratorV3(**_types(self._spec))
        self.signature = tf.TensorSpec([], tf.resource)

    def run_length(self, step: int) -> int:
        return self.steps_per_epoch - step % self.steps_per_epoch

    def serve(self, step: int, count: int) -> Tree:
        epoch, place = self._order.place(step)
        if step != self._next_step or place == 0:
            seed = self._order.epoch_seed(epoch)
            numbers = (seed & 0x7FFFFFFF, seed >> 32, epoch, place)
            self._begin(self._iterator, *(tf.constant(number, tf.int64) for number in numbers))
        self._next_step = step + count
        return self._iterator

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        leaves = tf.raw_ops.IteratorGetNext(iterator=handle, **_types(self._spec))
        return Batch(*(*tf.nest.pack_sequence_as(self._spec, leaves), None)[:3])

    def _begun(self, iterator: Tensor, *numbers: Tensor) -> None:
        pipeline = tf.data.experimental.to_variant(self._pipeline(*numbers))
        tf.raw_ops.MakeIterator(dataset=pipeline, iterator=iterator)

    def _pipeline(self, low: Tensor, high: Tensor, epoch: Tensor, place: Tensor) -> tf.data.Dataset:
        """The batches of an epoch, whose seed is `low` and `high`, from number `place` on."""
        order, data = self._order, self._data
        if order.shuffle:
            data = _shuffled(data, order.shuffle_buffer, low, high)
        if has_fixed_shape(data):
            data = data.batch(order.batch_size, drop_remainder=order.is_even).skip(place)
            data = self._mapped(data, epoch * order.steps_per_epoch + place, self._prepared)
        else:
            done = place * order.batch_size
            data = self._mapped(data.skip(done), epoch * order.examples + done, self._prepared_one)
            data = data.batch(order.batch_size, drop_remainder=order.is_even)
        return data.prefetch(BATCHES_READY)

    def _mapped(self, data: tf.data.Dataset, start: Tensor, change) -> tf.data.Dataset:
        change = tf.autograph.experimental.do_not_convert(change)
        return data.enumerate(start).map(change, num_parallel_calls=THREADS, deterministic=True)

    def _prepared(self, step: Tensor, parts: tuple) -> tuple:
        batch = apply(self._fitted, Batch(*(*parts, None)[:3]), step, self._order.training)
        return tuple(batch)[: len(parts)]

    def _prepared_one(self, number: Tensor, parts: tuple) -> tuple:
        batch = self._prepared(number, tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], parts))
        return tf.nest.map_structure(lambda leaf: leaf[0], batch)


def _shuffled(data: tf.data.Dataset, buffer: int, low: Tensor, high: Tensor) -> tf.data.Dataset:
    """What `Dataset.shuffle` gives; that takes no seed from a graph, and adds TensorFlow's global one."""
    found = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(data),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=low,
        seed2=high,
        reshuffle_each_iteration=False,
        **_types(data.element_spec),
    )
    return tf.data.experimental.from_variant(found, data.element_spec)


def _types(spec: Tree) -> dict[str, list]:
    leaves = tf.nest.flatten(spec)
    return {"output_types": [leaf.dtype for leaf in leaves], "output_shapes": [leaf.shape for leaf in leaves]}
