"""The only place that asks how many devices there are: what each replica takes of a batch, and what all agree on.

With one replica every function here adds nothing to the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tftrain.core.sparse import Gradient, unique_rows, values_of, with_values
from tftrain.core.types import Batch, Tensor, Tree

FIRST = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}  # all replicas write the same


def count() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def own_share(batch: Batch) -> Batch:
    """This replica's rows of the global batch; with fewer examples than replicas some get none."""
    replicas = count()
    if replicas == 1:
        return batch
    index = tf.distribute.get_replica_context().replica_id_in_sync_group
    examples = tf.shape(tf.nest.flatten(batch.x)[0])[0]
    start, stop = index * examples // replicas, (index + 1) * examples // replicas
    return Batch(*(part if part is None else tf.nest.map_structure(lambda leaf: leaf[start:stop], part) for part in batch))


def mean(loss: Tensor, grads: Sequence[Gradient], mass: Callable[[], Tensor]) -> tuple[Tensor, list[Gradient]]:
    """The loss and the gradients of the global batch; a replica counts by its share, `mass()`."""
    if count() == 1:
        return loss, list(grads)
    own = mass()
    share = tf.math.divide_no_nan(own, _sum(own))
    # A replica without examples has a loss of NaN, which counts nothing.
    parts = [with_values(grad, tf.math.multiply_no_nan(values_of(grad), share)) for grad in grads]
    loss, *whole = _sum([tf.math.multiply_no_nan(loss, tf.cast(share, loss.dtype)), *parts])
    return loss, [unique_rows(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in whole]


def _sum(values: Any) -> Any:
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def for_apply(grads: Sequence[Gradient]) -> list[Gradient]:
    """What Keras' optimizer is given: it sums over the replicas once more, and cannot be told not to."""
    replicas = count()
    return list(grads) if replicas == 1 else [with_values(grad, values_of(grad) / replicas) for grad in grads]


def when(flag: Tensor, action: Callable, otherwise: Callable, values: Tree) -> None:
    """Do `action(values)` where the flag is set, else `otherwise(values)`; the flag is the same on all replicas.

    A conditional may not hold a merge over replicas, such as an optimizer's update, so it stands outside of them. The
    values go through arguments, because a closure would hand every replica the tensors of the first one.
    """
    if not tf.distribute.has_strategy():
        tf.cond(flag, lambda: _done(action, values), lambda: _done(otherwise, values))
        return
    leaves = tf.nest.flatten(values, expand_composites=True)

    def on_replica(choice: Callable, *leaves: Tensor) -> None:
        choice(tf.nest.pack_sequence_as(values, list(leaves), expand_composites=True))

    def across(strategy: Any, flag: Any, *leaves: Any) -> None:
        def everywhere(choice: Callable) -> int:
            strategy.extended.call_for_each_replica(on_replica, args=(choice, *leaves))
            return 0

        first = strategy.experimental_local_results(flag)[0]
        tf.cond(first, lambda: everywhere(action), lambda: everywhere(otherwise))

    tf.distribute.get_replica_context().merge_call(across, args=(flag, *leaves))


def _done(choice: Callable, values: Tree) -> int:
    choice(values)
    return 0


def run(step: Callable, batch: Batch) -> Tree:
    """One step on every replica, each given the global batch; what the first one of this process returns."""
    if not tf.distribute.has_strategy():
        return step(batch)
    strategy = tf.distribute.get_strategy()
    found = strategy.run(step, args=(batch,))
    return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], found)
