"""Serves batches through a pipeline of tf.data, from a tf.data.Dataset or from addressed examples."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, BatchSource, Tensor, Tree
from tftrain.data.preprocessing import Fitted, apply, has_fixed_shape
from tftrain.data.records import THREADS, RandomAccessRecords, deterministic
from tftrain.data.sampler import BatchOrder
from tftrain.runtime.errors import DataError

BATCHES_READY = 2  # made while the step runs


class StreamSource:
    """A feed over single examples; a handle is the iterator of its pipeline, which each epoch begins anew.

    Each epoch is shuffled from (seed, epoch). Consecutive calls go on in the same iterator, so a handle's batches must
    be asked for in order; for any other step it begins again there.
    Examples of differing shapes are preprocessed one by one, before they are put into a batch.
    """

    prepared, in_order = False, True

    def __init__(
        self,
        data: tf.data.Dataset | RandomAccessRecords,
        order: BatchOrder,
        fitted: list[Fitted],
    ):
        self._source = (
            SeekableReader(data, order)
            if isinstance(data, RandomAccessRecords)
            else ReplayReader(data, order)
        )
        self._data = data
        self._order, self._fitted = order, fitted
        self._next_step = -1
        self.examples, self.steps_per_epoch = (
            order.examples,
            order.steps_per_epoch,
        )
        # The pipeline is traced once: to build it anew takes 20 ms, in which many steps could be made.
        signature = [
            tf.TensorSpec([], tf.resource),
            NUMBER,
            NUMBER,
            *self._source.signature,
        ]
        self._begin = tf.function(
            self._begin_iterator, signature, autograph=False
        )
        self._spec = self._make_pipeline(
            *self._pipeline_arguments(0, 0)
        ).element_spec
        for leaf in tf.nest.flatten(self._spec):
            if None in leaf.shape[1:].as_list():
                shape = [
                    "any" if size is None else size for size in leaf.shape[1:]
                ]
                raise DataError(
                    f"the examples have no fixed shape ({shape}); add `resize`, `pad` or `crop`, or remove .batch() if "
                    "these are batches: the run makes its own"
                )
        with tf.device("CPU:0"):
            self._iterator = tf.raw_ops.AnonymousIteratorV3(
                **types_of(self._spec)
            )
        self.signature = tf.TensorSpec([], tf.resource)

    @property
    def replayed(self) -> int:
        """How many examples are read again at most when a run goes on within an epoch, and are not in memory."""
        return self.examples if isinstance(self._source, ReplayReader) else 0

    def evaluating(self, batch_size: int, max_in_order: int) -> StreamSource:
        """Return a source of the same examples as validation serves them.

        Args:
            batch_size: of the batches.
            max_in_order: of more examples the order is drawn from the seed.
        """
        return StreamSource(
            self._data,
            self._order.evaluating(batch_size, max_in_order),
            self._fitted,
        )

    def run_length(self, step: int) -> int:
        """Return how many steps one call may have from this step on."""
        return self.steps_per_epoch - step % self.steps_per_epoch

    def serve(self, step: int, count: int) -> Tree:
        """Return a handle for the next steps.

        Args:
            step: the steps taken so far.
            count: how many.
        """
        epoch, place = self._order.place(step)
        if step != self._next_step or place == 0:
            self._begin(self._iterator, *self._pipeline_arguments(epoch, place))
        self._next_step = step + count
        return self._iterator

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        """Return a batch, in the graph.

        Args:
            handle: what `serve` gave.
            index: of the batch within the handle.
        """
        leaves = tf.raw_ops.IteratorGetNext(
            iterator=handle, **types_of(self._spec)
        )
        return Batch(*(*tf.nest.pack_sequence_as(self._spec, leaves), None)[:3])

    def _pipeline_arguments(self, epoch: int, place: int) -> list[Tensor]:
        """What `_pipeline` takes to begin with a batch of an epoch."""
        numbers = (
            epoch,
            place,
            *self._source.arguments(epoch, place * self._order.batch_size),
        )
        return [tf.constant(number, tf.int64) for number in numbers]

    def _begin_iterator(self, iterator: Tensor, *arguments: Tensor) -> None:
        pipeline = tf.data.experimental.to_variant(
            self._make_pipeline(*arguments)
        )
        tf.raw_ops.MakeIterator(dataset=pipeline, iterator=iterator)

    def _make_pipeline(
        self, epoch: Tensor, place: Tensor, *arguments: Tensor
    ) -> tf.data.Dataset:
        """The batches of an epoch from number `place` on; `given` tells the source where that is."""
        order, data = self._order, self._source.examples(*arguments)
        if has_fixed_shape(data):
            data = data.batch(order.batch_size, drop_remainder=order.is_even)
            data = self._map_steps(
                data, epoch * order.steps_per_epoch + place, self._prepare_batch
            )
        else:
            data = self._map_steps(
                data,
                epoch * order.examples + place * order.batch_size,
                self._prepared_one,
            )
            data = data.batch(order.batch_size, drop_remainder=order.is_even)
        return deterministic(data.prefetch(BATCHES_READY))

    def _map_steps(
        self, data: tf.data.Dataset, start: Tensor, change
    ) -> tf.data.Dataset:
        change = tf.autograph.experimental.do_not_convert(change)
        return data.enumerate(start).map(
            change, num_parallel_calls=THREADS, deterministic=True
        )

    def _prepare_batch(self, step: Tensor, parts: tuple) -> tuple:
        batch = apply(
            self._fitted, Batch(*(*parts, None)[:3]), step, self._order.training
        )
        return tuple(batch)[: len(parts)]

    def _prepared_one(self, number: Tensor, parts: tuple) -> tuple:
        batch = self._prepare_batch(
            number, tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], parts)
        )
        return tf.nest.map_structure(lambda leaf: leaf[0], batch)


NUMBER = tf.TensorSpec([], tf.int64)
CHUNKS_IN_GROUP = 16  # at least, where examples are shuffled


class ReplayReader:
    """A tf.data.Dataset: what comes before the position is read again, and dropped.

    `arguments(epoch, done)` are what `examples` takes in a graph to go on after `done` examples of an epoch.
    """

    signature = (NUMBER, NUMBER, NUMBER)

    def __init__(self, data: tf.data.Dataset, order: BatchOrder):
        self._data, self._order = data, order

    def arguments(self, epoch: int, skipped: int) -> tuple:
        """Return what `examples` takes to begin at an example of an epoch.

        Args:
            epoch: its number.
            skipped: how many examples come before it.
        """
        return (*_seed_halves(self._order.epoch_seed(epoch)), skipped)

    def examples(
        self, low: Tensor, high: Tensor, skipped: Tensor
    ) -> tf.data.Dataset:
        """Return the examples of an epoch, in the graph.

        Args:
            low: half of the epoch's seed.
            high: the other half.
            skipped: how many examples are left out.
        """
        order, data = self._order, self._data
        return (
            _shuffle(data, order.shuffle_buffer, low, high)
            if order.shuffle
            else data
        ).skip(skipped)


class SeekableReader:
    """Addressed examples, of which those before the position are not read.

    The epoch's order is one of chunks of neighbours, drawn anew for each. As many chunks as fill the buffer make a
    group, in which all examples are shuffled before they are decoded; only the group of the position is read again.
    """

    signature = (NUMBER, NUMBER, NUMBER, tf.TensorSpec([None, 4], tf.int64))

    def __init__(self, data: RandomAccessRecords, order: BatchOrder):
        self._data, self._order = data, order
        size = (
            min(data.together, -(-order.shuffle_buffer // CHUNKS_IN_GROUP))
            if order.shuffle
            else data.together
        )
        self._chunks = data.chunks(size)
        self._in_group = (
            max(1, order.shuffle_buffer // size) if order.shuffle else 1
        )

    def arguments(self, epoch: int, skipped: int) -> tuple:
        """Return what `examples` takes to begin at an example of an epoch.

        Args:
            epoch: its number.
            skipped: how many examples come before it.
        """
        chunks, seed = self._chunks, self._order.epoch_seed(epoch)
        if self._order.shuffle:
            chunks = np.random.default_rng(seed).permutation(chunks)
        group_starts = np.concatenate([[0], np.cumsum(chunks[:, 3])])[
            :: self._in_group
        ]
        group = int(np.searchsorted(group_starts, skipped, side="right")) - 1
        return (
            *_seed_halves(seed),
            skipped - group_starts[group],
            chunks[group * self._in_group :],
        )

    def examples(
        self, low: Tensor, high: Tensor, skipped: Tensor, chunks: Tensor
    ) -> tf.data.Dataset:
        """Return the examples of an epoch, in the graph.

        Args:
            low: half of the epoch's seed.
            high: the other half.
            skipped: how many examples are left out.
            chunks: what is read, [chunks, 4].
        """

        def read(group: Tensor) -> tf.data.Dataset:
            raw = tf.data.Dataset.from_tensor_slices(group).flat_map(
                self._data.raw
            )
            if not self._order.shuffle:
                return raw
            return _shuffle(
                raw, self._order.shuffle_buffer, low, high + group[0, 1]
            )  # all of the group

        groups = tf.data.Dataset.from_tensor_slices(chunks).batch(
            self._in_group
        )
        # As a parallel call, it reads the next group while this one is used.
        raw = groups.interleave(
            read,
            cycle_length=1,
            block_length=self._data.together,
            num_parallel_calls=1,
            deterministic=True,
        )
        return self._data.decoded(raw.skip(skipped))


def _seed_halves(seed: int) -> tuple[int, int]:
    return seed & 0x7FFFFFFF, seed >> 32


def _shuffle(
    data: tf.data.Dataset, buffer: int, low: Tensor, high: Tensor
) -> tf.data.Dataset:
    """What `Dataset.shuffle` gives; that takes no seed from a graph, and adds TensorFlow's global one."""
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(data),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=low,
        seed2=high,
        reshuffle_each_iteration=False,
        **types_of(data.element_spec),
    )
    return tf.data.experimental.from_variant(variant, data.element_spec)


def types_of(spec: Tree) -> dict[str, list]:
    """What TensorFlow's dataset operations are told of the elements."""
    leaves = tf.nest.flatten(spec)
    return {
        "output_types": [leaf.dtype for leaf in leaves],
        "output_shapes": [leaf.shape for leaf in leaves],
    }


def resume_cost(source: BatchSource) -> str | None:
    """Return a line on what a resume costs where the data cannot be positioned; None where it can."""
    replayed = source.replayed if isinstance(source, StreamSource) else 0
    if not replayed:
        return None
    return (
        f"data: a tf.data.Dataset cannot be positioned, so a resume reads up to {replayed} examples again; "
        "data.cache: true keeps them in memory"
    )
