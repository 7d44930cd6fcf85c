"""Sequences served window by window."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import Batch, BatchSource, Tensor, Tree


class WindowSource:
    """A feed whose steps go through the windows of each batch of another one, before its next batch.

    x and y `[batch, time, ...]` become `[batch, window, ...]`; time is `windows` times as long as a window. A batch is
    made anew for each of its windows.
    """

    def __init__(self, feed: BatchSource, windows: int):
        self._feed = feed
        self._windows = windows
        self.steps_per_epoch = feed.steps_per_epoch * windows
        self.examples = feed.examples * windows
        self.prepared = feed.prepared
        self.in_order = False
        self.signature = {
            "place": tf.TensorSpec([], tf.int32),
            "batches": feed.signature,
        }

    def evaluating(self, batch_size: int, max_in_order: int) -> BatchSource:
        """Return a source of whole sequences, as validation serves them.

        Args:
            batch_size: of the batches.
            max_in_order: of more examples the order is drawn from the seed.
        """
        return self._feed.evaluating(batch_size, max_in_order)

    def run_length(self, step: int) -> int:
        """Return how many steps one call may have from this step on."""
        batch, place = divmod(step, self._windows)
        return self._feed.run_length(batch) * self._windows - place

    def serve(self, step: int, count: int) -> Tree:
        """Return a handle for the next steps.

        Args:
            step: the steps taken so far.
            count: how many.
        """
        first_batch, first_window = divmod(step, self._windows)
        last_batch = (step + count - 1) // self._windows
        return {
            "place": tf.constant(first_window, tf.int32),
            "batches": self._feed.serve(
                first_batch, last_batch - first_batch + 1
            ),
        }

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        """Return a window of a batch, in the graph.

        Args:
            handle: what `serve` gave.
            index: of the window within the handle.
        """
        place = handle["place"] + index
        window = place % self._windows
        sequences = self._feed.batch(handle["batches"], place // self._windows)
        examples = tf.shape(sequences.y)[:1]
        starts = tf.fill(examples, window == 0)
        x = self._take_window(sequences.x, window)
        y = self._take_window(sequences.y, window)
        weight = sequences.weight
        if weight is not None and weight.shape.rank > 1:
            weight = self._take_window(weight, window)
        return Batch(x, y, weight, starts)

    def _take_window(self, sequences: Tensor, window: Tensor) -> Tensor:
        length = sequences.shape[1] // self._windows
        rest_shape = sequences.shape[2:]
        rest_begin = tf.zeros([len(rest_shape)], tf.int32)
        begin = tf.concat([[0, window * length], rest_begin], 0)
        return tf.slice(sequences, begin, [-1, length, *rest_shape])
