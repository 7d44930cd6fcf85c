"""Serves batches from arrays in memory."""

from __future__ import annotations

import copy

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tensor, Tree
from tftrain.data.batches import map_leaves
from tftrain.data.preprocessing import Fitted, apply, apply_ahead
from tftrain.data.sampler import BatchOrder

# The most row numbers in one handle: 16 MiB.
CALL_ROWS = 2**22
# The orders of several epochs of small data are drawn at once, so many row numbers in all.
DRAWN_ROWS = 2**16


class ArraySource:
    """A feed over arrays held by TensorFlow; a handle holds row numbers only, and the number of its first step.

    The order of an epoch is a permutation drawn from the seed and the epoch. A handle may span epochs: where these end
    in a short batch it also says where the rows of each batch start. A batch that is all the data needs no rows.
    """

    in_order = False

    def __init__(self, data: Batch, order: BatchOrder, fitted: list[Fitted]):
        ready, self._rest = apply_ahead(fitted, data, order.training)
        self._arrays = map_leaves(tf.constant, ready)
        self.prepared = not self._rest
        self._order_rows(order)

    def evaluating(self, batch_size: int, max_in_order: int) -> ArraySource:
        """Return a feed of the same arrays, which are not copied, as validation serves them.

        Args:
            batch_size: examples of a batch, those of the last one may be fewer.
            max_in_order: of more examples than these the order is drawn from the seed: the first are a sample.
        """
        feed = copy.copy(self)
        feed._order_rows(self._order.evaluating(batch_size, max_in_order))
        return feed

    def _order_rows(self, order: BatchOrder) -> None:
        self._order = order
        self._drawn: tuple[int, np.ndarray] = (-1, np.empty((0, 0), np.int32))
        self.examples = order.examples
        self.steps_per_epoch = order.steps_per_epoch
        self._epochs_drawn = max(1, DRAWN_ROWS // order.examples)
        self._is_whole = (
            order.batch_size == order.examples and not order.shuffle
        )
        self.signature = {"step": tf.TensorSpec([], tf.int64)}
        if not self._is_whole:
            shape = [None, order.batch_size] if order.is_even else [None]
            self.signature["rows"] = tf.TensorSpec(shape, tf.int32)
        if not order.is_even:
            self.signature["starts"] = tf.TensorSpec([None], tf.int32)

    def run_length(self, step: int) -> int:
        """Return how many steps one call may have from this step on."""
        return max(1, CALL_ROWS // self._order.batch_size)

    def serve(self, step: int, count: int) -> Tree:
        """Return a handle for the next steps.

        Args:
            step: the steps taken so far.
            count: how many.
        """
        handle = {"step": tf.constant(step, tf.int64)}
        if not self._is_whole:
            rows = self._row_numbers(step, step + count)
            if self._order.is_even:
                rows = rows.reshape(count, -1)
            handle["rows"] = tf.constant(rows)
        if not self._order.is_even:
            handle["starts"] = tf.constant(self._batch_starts(step, count))
        return handle

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        """Return a batch, in the graph.

        Args:
            handle: what `serve` gave.
            index: of the batch within the handle.
        """
        step = handle["step"] + tf.cast(index, tf.int64)
        if self._is_whole:
            return apply(self._rest, self._arrays, step, self._order.training)
        if self._order.is_even:
            rows = tf.gather(handle["rows"], index)
        else:
            bounds = tf.slice(handle["starts"], [index], [2])
            start, stop = tf.unstack(bounds)
            rows = tf.slice(handle["rows"], [start], [stop - start])
        batch = map_leaves(lambda leaf: tf.gather(leaf, rows), self._arrays)
        return apply(self._rest, batch, step, self._order.training)

    def _row_numbers(self, start: int, stop: int) -> np.ndarray:
        """Return the row numbers of the steps from `start` to before `stop`, one batch after the other."""
        first_epoch, first_batch = self._order.place(start)
        last_epoch, last_batch = self._order.place(stop - 1)
        size = self._order.batch_size
        used = min(self.steps_per_epoch * size, self.examples)
        epochs = range(first_epoch, last_epoch + 1)
        rows = [self._epoch_rows(epoch)[:used] for epoch in epochs]
        rows[-1] = rows[-1][: (last_batch + 1) * size]
        rows[0] = rows[0][first_batch * size :]
        if len(rows) == 1:
            return rows[0]
        return np.concatenate(rows)

    def _batch_starts(self, step: int, count: int) -> np.ndarray:
        """Return where each batch starts among the rows of a handle, and where the last one ends."""
        steps = np.arange(step, step + count + 1)
        epochs, batches = np.divmod(steps, self.steps_per_epoch)
        starts = epochs * self.examples + batches * self._order.batch_size
        return (starts - starts[0]).astype(np.int32)

    def _epoch_rows(self, epoch: int) -> np.ndarray:
        """Return all row numbers in the order of an epoch."""
        block = 0
        place = 0
        if self._order.shuffle:
            block, place = divmod(epoch, self._epochs_drawn)
        if self._drawn[0] != block:
            self._drawn = (block, self._draw_block(block))
        return self._drawn[1][place]

    def _draw_block(self, block: int) -> np.ndarray:
        """Return the row numbers of a block of epochs, [epochs, examples]."""
        rows = np.arange(self.examples, dtype=np.int32)[np.newaxis]
        if not self._order.shuffle:
            return rows
        epochs = np.repeat(rows, self._epochs_drawn, axis=0)
        random = np.random.default_rng(self._order.epoch_seed(block))
        return random.permuted(epochs, axis=1)
