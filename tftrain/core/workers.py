"""On the host: what several workers agree on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tftrain.core import replication
from tftrain.core.types import Tensor


def of_first(numbers: Sequence[float], strategy: Any) -> list[float]:
    """Return, on the host, the numbers of the first of several workers.

    Args:
        numbers: of this worker.
        strategy: a tf.distribute.Strategy, or None.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return list(numbers)
    take_first = _make_first_worker(strategy)
    return take_first(tf.constant(numbers, tf.float64)).numpy().tolist()


def max_over_workers(number: int, strategy: Any) -> int:
    """Return, on the host, the largest of the numbers that several workers have.

    Args:
        number: of this worker.
        strategy: a tf.distribute.Strategy, or None.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return number
    gather = _make_gather(strategy)
    return int(gather(tf.constant(number, tf.int64)).numpy().max())


@functools.cache
def _make_gather(strategy: Any) -> Callable[[Tensor], Tensor]:
    def on_replica(number: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        zero = tf.constant(0, tf.int64)
        index = context.replica_id_in_sync_group
        return replication.sum_tensors(
            tf.one_hot(index, replication.count(), number, zero)
        )

    return _compile_on_workers(
        strategy, on_replica, tf.TensorSpec([], tf.int64)
    )


@functools.cache
def _make_first_worker(strategy: Any) -> Callable[[Tensor], Tensor]:
    def on_replica(numbers: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        is_first = context.replica_id_in_sync_group == 0
        return replication.sum_tensors(tf.where(is_first, numbers, 0))

    return _compile_on_workers(
        strategy, on_replica, tf.TensorSpec([None], tf.float64)
    )


def _compile_on_workers(
    strategy: Any, on_replica: Callable, spec: tf.TensorSpec
) -> Callable[[Tensor], Tensor]:
    def run_everywhere(value: Tensor) -> Tensor:
        results = strategy.run(on_replica, args=(value,))
        return strategy.experimental_local_results(results)[0]

    return tf.function(run_everywhere, input_signature=[spec], autograph=False)
