"""Serves batches from a tf.data.Dataset."""

from __future__ import annotations

import os

import tensorflow as tf

from tftrain.core.types import Batch, Tensor, Tree
from tftrain.data.chain import Fitted, apply, has_fixed_shape
from tftrain.data.errors import DataError
from tftrain.data.order import Order

THREADS = min(8, os.cpu_count() or 1)
BATCHES_READY = 2  # made while the step runs


class StreamFeed:
    """A feed over an unbatched tf.data.Dataset; a handle is the iterator of the current epoch.

    Each epoch is a fresh pipeline shuffled from (seed, epoch). Consecutive calls go on in the same iterator, so a
    handle's batches must be asked for in order; any other step is reached by skipping.
    Examples of differing shapes are preprocessed one by one, before they are put into a batch.
    """

    def __init__(self, data: tf.data.Dataset, order: Order, fitted: list[Fitted]):
        self._data, self._order, self._fitted = data, order, fitted
        self._iterator, self._next_step = None, -1
        self.examples, self.steps_per_epoch = order.examples, order.steps_per_epoch
        spec = self._pipeline(0, 0).element_spec
        for leaf in tf.nest.flatten(spec):
            if None in leaf.shape[1:].as_list():
                shape = ["any" if size is None else size for size in leaf.shape[1:]]
                raise DataError(
                    f"the examples have no fixed shape ({shape}); add `resize`, `pad` or `crop`, or remove .batch() if "
                    "these are batches: the run makes its own"
                )
        self.signature = tf.data.IteratorSpec(spec)

    def run_length(self, step: int) -> int:
        return self.steps_per_epoch - step % self.steps_per_epoch

    def serve(self, step: int, count: int) -> Tree:
        epoch, place = self._order.place(step)
        if step != self._next_step or place == 0:
            self._iterator = iter(self._pipeline(epoch, place))
        self._next_step = step + count
        return self._iterator

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        return Batch(*(*next(handle), None)[:3])

    def _pipeline(self, epoch: int, place: int) -> tf.data.Dataset:
        """The epoch's batches from number `place` on."""
        order, data = self._order, self._data
        if order.shuffle:
            data = data.shuffle(order.shuffle_buffer, seed=order.epoch_seed(epoch), reshuffle_each_iteration=False)
        if has_fixed_shape(data):
            data = data.batch(order.batch_size, drop_remainder=order.is_even).skip(place)
            data = self._mapped(data, epoch * order.steps_per_epoch + place, self._prepared)
        else:
            done = place * order.batch_size
            data = self._mapped(data.skip(done), epoch * order.examples + done, self._prepared_one)
            data = data.batch(order.batch_size, drop_remainder=order.is_even)
        return data.prefetch(BATCHES_READY)

    def _mapped(self, data: tf.data.Dataset, start: int, change) -> tf.data.Dataset:
        change = tf.autograph.experimental.do_not_convert(change)
        return data.enumerate(start).map(change, num_parallel_calls=THREADS, deterministic=True)

    def _prepared(self, step: Tensor, parts: tuple) -> tuple:
        batch = apply(self._fitted, Batch(*(*parts, None)[:3]), step, self._order.training)
        return tuple(batch)[: len(parts)]

    def _prepared_one(self, number: Tensor, parts: tuple) -> tuple:
        batch = self._prepared(number, tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], parts))
        return tf.nest.map_structure(lambda leaf: leaf[0], batch)
