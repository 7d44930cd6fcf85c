"""Serves batches from arrays in memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Tensor, Tree
from tftrain.data.chain import Fitted, apply, apply_ahead
from tftrain.data.order import Order
from tftrain.data.source import map_leaves

CALL_ROWS = 2**22  # row numbers in one handle at most: 16 MiB


class ArrayFeed:
    """A feed over arrays held by TensorFlow; a handle holds row numbers only.

    The order of an epoch is a permutation drawn from (seed, epoch). Where all batches have one size a call may span
    epochs; otherwise the short last batch of an epoch is a call of its own.
    """

    def __init__(self, data: Batch, order: Order, fitted: list[Fitted]):
        self._order = order
        ready, self._rest = apply_ahead(fitted, data, order.training)
        self._arrays = map_leaves(tf.constant, ready)
        self._drawn: tuple[int, np.ndarray] = (-1, np.empty(0, np.int32))
        self.examples, self.steps_per_epoch = order.examples, order.steps_per_epoch
        width = order.batch_size if order.is_even else None
        self.signature = {"rows": tf.TensorSpec([None, width], tf.int32), "step": tf.TensorSpec([], tf.int64)}

    def run_length(self, step: int) -> int:
        most = max(1, CALL_ROWS // self._order.batch_size)
        if self._order.is_even:
            return most
        before_short = self.steps_per_epoch - 1 - step % self.steps_per_epoch
        return min(most, max(1, before_short))

    def serve(self, step: int, count: int) -> Tree:
        rows = np.stack([self._rows(step + i) for i in range(count)])
        return {"rows": tf.constant(rows), "step": tf.constant(step, tf.int64)}

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        rows = tf.gather(handle["rows"], index)
        batch = map_leaves(lambda leaf: tf.gather(leaf, rows), self._arrays)
        return apply(self._rest, batch, handle["step"] + tf.cast(index, tf.int64), self._order.training)

    def _rows(self, step: int) -> np.ndarray:
        epoch, place = self._order.place(step)
        size = self._order.batch_size
        return self._epoch_rows(epoch)[place * size : (place + 1) * size]

    def _epoch_rows(self, epoch: int) -> np.ndarray:
        """All row numbers in the order of an epoch."""
        if not self._order.shuffle:
            epoch = 0
        if self._drawn[0] != epoch:
            rows = np.arange(self.examples, dtype=np.int32)
            if self._order.shuffle:
                np.random.default_rng(self._order.epoch_seed(epoch)).shuffle(rows)
            self._drawn = (epoch, rows)
        return self._drawn[1]
