"""Sums of gradients over the replicas, sparse ones too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tftrain.core import replication
from tftrain.core.numerics import Gradient, sum_duplicate_rows
from tftrain.core.types import Tensor


def all_reduce_sum(values: Sequence[Gradient]) -> list[Gradient]:
    """Return the sums over the replicas of tensors and of sparse gradients, these with each row once."""
    if replication.count() == 1:
        return list(values)
    dense = [grad for grad in values if not isinstance(grad, tf.IndexedSlices)]
    sparse = [grad for grad in values if isinstance(grad, tf.IndexedSlices)]
    dense_sums = iter(replication.sum_tensors(dense))
    sparse_sums = iter(_sum_sparse(sparse))
    return [
        next(sparse_sums if isinstance(grad, tf.IndexedSlices) else dense_sums)
        for grad in values
    ]


def _sum_sparse(grads: list[tf.IndexedSlices]) -> list[tf.IndexedSlices]:
    """Sum sparse gradients over the replicas, each row once.

    A batch touches more or fewer rows than the one before it, and a collective that runs in a loop must have the same
    size each time. So the rows of all replicas are joined without one where this process holds all of them; several
    workers sum the whole table.
    """
    if not grads:
        return []
    if not isinstance(
        tf.distribute.get_strategy(), tf.distribute.MirroredStrategy
    ):
        return [_sum_as_table(grad) for grad in grads]

    def join(strategy: Any, leaves: list) -> list[Tensor]:
        return [
            tf.concat(strategy.experimental_local_results(leaf), 0)
            for leaf in leaves
        ]

    leaves = [leaf for grad in grads for leaf in (grad.values, grad.indices)]
    joined = tf.distribute.get_replica_context().merge_call(
        join, args=(leaves,)
    )
    return [
        sum_duplicate_rows(tf.IndexedSlices(values, indices, grad.dense_shape))
        for values, indices, grad in zip(
            joined[::2], joined[1::2], grads, strict=True
        )
    ]


def _sum_as_table(grad: tf.IndexedSlices) -> tf.IndexedSlices:
    """Sum over the replicas by way of a dense table, as large as the parameter."""
    height = tf.cast(grad.dense_shape[0], grad.indices.dtype)
    touched = tf.ones(tf.shape(grad.indices), grad.values.dtype)
    local = [
        tf.math.unsorted_segment_sum(leaf, grad.indices, height)
        for leaf in (grad.values, touched)
    ]
    table, counts = replication.sum_tensors(local)
    rows = tf.cast(tf.where(counts > 0)[:, 0], grad.indices.dtype)
    return tf.IndexedSlices(tf.gather(table, rows), rows, grad.dense_shape)
