"""How the examples of an epoch are read from a position on."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor, Tree
from tftrain.data.records import Addressed
from tftrain.data.sampler import Order

NUMBER = tf.TensorSpec([], tf.int64)
CHUNKS_IN_GROUP = 16  # at least, where examples are shuffled


class Replayed:
    """A tf.data.Dataset: what comes before the position is read again, and dropped.

    `arguments(epoch, done)` are what `examples` takes in a graph to go on after `done` examples of an epoch.
    """

    signature = (NUMBER, NUMBER, NUMBER)

    def __init__(self, data: tf.data.Dataset, order: Order):
        self._data, self._order = data, order

    def arguments(self, epoch: int, done: int) -> tuple:
        return (*_halves(self._order.epoch_seed(epoch)), done)

    def examples(self, low: Tensor, high: Tensor, done: Tensor) -> tf.data.Dataset:
        order, data = self._order, self._data
        return (_shuffled(data, order.shuffle_buffer, low, high) if order.shuffle else data).skip(done)


class Sought:
    """Addressed examples, of which those before the position are not read.

    The epoch's order is one of chunks of neighbours, drawn anew for each. As many chunks as fill the buffer make a
    group, in which all examples are shuffled before they are decoded; only the group of the position is read again.
    """

    signature = (NUMBER, NUMBER, NUMBER, tf.TensorSpec([None, 4], tf.int64))

    def __init__(self, data: Addressed, order: Order):
        self._data, self._order = data, order
        size = min(data.together, -(-order.shuffle_buffer // CHUNKS_IN_GROUP)) if order.shuffle else data.together
        self._chunks = data.chunks(size)
        self._in_group = max(1, order.shuffle_buffer // size) if order.shuffle else 1

    def arguments(self, epoch: int, done: int) -> tuple:
        chunks, seed = self._chunks, self._order.epoch_seed(epoch)
        if self._order.shuffle:
            chunks = np.random.default_rng(seed).permutation(chunks)
        before = np.concatenate([[0], np.cumsum(chunks[:, 3])])[:: self._in_group]
        group = int(np.searchsorted(before, done, side="right")) - 1
        return (*_halves(seed), done - before[group], chunks[group * self._in_group :])

    def examples(self, low: Tensor, high: Tensor, done: Tensor, chunks: Tensor) -> tf.data.Dataset:
        def read(group: Tensor) -> tf.data.Dataset:
            raw = tf.data.Dataset.from_tensor_slices(group).flat_map(self._data.raw)
            if not self._order.shuffle:
                return raw
            return _shuffled(raw, self._order.shuffle_buffer, low, high + group[0, 1])  # all of the group

        groups = tf.data.Dataset.from_tensor_slices(chunks).batch(self._in_group)
        # As a parallel call, it reads the next group while this one is used.
        raw = groups.interleave(
            read, cycle_length=1, block_length=self._data.together, num_parallel_calls=1, deterministic=True
        )
        return self._data.decoded(raw.skip(done))


def _halves(seed: int) -> tuple[int, int]:
    return seed & 0x7FFFFFFF, seed >> 32


def _shuffled(data: tf.data.Dataset, buffer: int, low: Tensor, high: Tensor) -> tf.data.Dataset:
    """What `Dataset.shuffle` gives; that takes no seed from a graph, and adds TensorFlow's global one."""
    found = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(data),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=low,
        seed2=high,
        reshuffle_each_iteration=False,
        **types_of(data.element_spec),
    )
    return tf.data.experimental.from_variant(found, data.element_spec)


def types_of(spec: Tree) -> dict[str, list]:
    """What TensorFlow's dataset operations are told of the elements."""
    leaves = tf.nest.flatten(spec)
    return {"output_types": [leaf.dtype for leaf in leaves], "output_shapes": [leaf.shape for leaf in leaves]}
