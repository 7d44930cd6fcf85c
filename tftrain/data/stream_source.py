"""Serves batches through a pipeline of tf.data, from a tf.data.Dataset or from addressed examples."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import Batch, Tensor, Tree
from tftrain.data.chain import Fitted, apply, has_fixed_shape
from tftrain.data.positions import NUMBER, Replayed, Sought, types_of
from tftrain.data.records import THREADS, Addressed, steady
from tftrain.data.sampler import Order
from tftrain.runtime.errors import DataError

BATCHES_READY = 2  # made while the step runs


class StreamFeed:
    """A feed over single examples; a handle is the iterator of its pipeline, which each epoch begins anew.

    Each epoch is shuffled from (seed, epoch). Consecutive calls go on in the same iterator, so a handle's batches must
    be asked for in order; for any other step it begins again there.
    Examples of differing shapes are preprocessed one by one, before they are put into a batch.
    """

    prepared, in_order = False, True

    def __init__(self, data: tf.data.Dataset | Addressed, order: Order, fitted: list[Fitted]):
        self._source = Sought(data, order) if isinstance(data, Addressed) else Replayed(data, order)
        self._data = data
        self._order, self._fitted = order, fitted
        self._next_step = -1
        self.examples, self.steps_per_epoch = order.examples, order.steps_per_epoch
        # The pipeline is traced once: to build it anew takes 20 ms, in which many steps could be made.
        given = [tf.TensorSpec([], tf.resource), NUMBER, NUMBER, *self._source.signature]
        self._begin = tf.function(self._begun, given, autograph=False)
        self._spec = self._pipeline(*self._arguments(0, 0)).element_spec
        for leaf in tf.nest.flatten(self._spec):
            if None in leaf.shape[1:].as_list():
                shape = ["any" if size is None else size for size in leaf.shape[1:]]
                raise DataError(
                    f"the examples have no fixed shape ({shape}); add `resize`, `pad` or `crop`, or remove .batch() if "
                    "these are batches: the run makes its own"
                )
        with tf.device("CPU:0"):
            self._iterator = tf.raw_ops.AnonymousIteratorV3(**types_of(self._spec))
        self.signature = tf.TensorSpec([], tf.resource)

    @property
    def replayed(self) -> int:
        """How many examples are read again at most when a run goes on within an epoch, and are not in memory."""
        return self.examples if isinstance(self._source, Replayed) else 0

    def evaluating(self, batch_size: int, max_in_order: int) -> StreamFeed:
        """The same examples as validation serves them; of more than `max_in_order` the order is drawn from the seed."""
        return StreamFeed(self._data, self._order.evaluating(batch_size, max_in_order), self._fitted)

    def run_length(self, step: int) -> int:
        return self.steps_per_epoch - step % self.steps_per_epoch

    def serve(self, step: int, count: int) -> Tree:
        epoch, place = self._order.place(step)
        if step != self._next_step or place == 0:
            self._begin(self._iterator, *self._arguments(epoch, place))
        self._next_step = step + count
        return self._iterator

    def batch(self, handle: Tree, index: Tensor) -> Batch:
        leaves = tf.raw_ops.IteratorGetNext(iterator=handle, **types_of(self._spec))
        return Batch(*(*tf.nest.pack_sequence_as(self._spec, leaves), None)[:3])

    def _arguments(self, epoch: int, place: int) -> list[Tensor]:
        """What `_pipeline` takes to begin with a batch of an epoch."""
        given = (epoch, place, *self._source.arguments(epoch, place * self._order.batch_size))
        return [tf.constant(one, tf.int64) for one in given]

    def _begun(self, iterator: Tensor, *given: Tensor) -> None:
        pipeline = tf.data.experimental.to_variant(self._pipeline(*given))
        tf.raw_ops.MakeIterator(dataset=pipeline, iterator=iterator)

    def _pipeline(self, epoch: Tensor, place: Tensor, *given: Tensor) -> tf.data.Dataset:
        """The batches of an epoch from number `place` on; `given` tells the source where that is."""
        order, data = self._order, self._source.examples(*given)
        if has_fixed_shape(data):
            data = data.batch(order.batch_size, drop_remainder=order.is_even)
            data = self._mapped(data, epoch * order.steps_per_epoch + place, self._prepared)
        else:
            data = self._mapped(data, epoch * order.examples + place * order.batch_size, self._prepared_one)
            data = data.batch(order.batch_size, drop_remainder=order.is_even)
        return steady(data.prefetch(BATCHES_READY))

    def _mapped(self, data: tf.data.Dataset, start: Tensor, change) -> tf.data.Dataset:
        change = tf.autograph.experimental.do_not_convert(change)
        return data.enumerate(start).map(change, num_parallel_calls=THREADS, deterministic=True)

    def _prepared(self, step: Tensor, parts: tuple) -> tuple:
        batch = apply(self._fitted, Batch(*(*parts, None)[:3]), step, self._order.training)
        return tuple(batch)[: len(parts)]

    def _prepared_one(self, number: Tensor, parts: tuple) -> tuple:
        batch = self._prepared(number, tf.nest.map_structure(lambda leaf: leaf[tf.newaxis], parts))
        return tf.nest.map_structure(lambda leaf: leaf[0], batch)
