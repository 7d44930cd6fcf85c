"""What each replica takes of a batch, and what all agree on: only this module asks how many devices there are.

With one replica every function here adds nothing to the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import tensorflow as tf

from tftrain.core.layer_hooks import replace_attribute, restore_attribute
from tftrain.core.numerics import Gradient, while_cond
from tftrain.core.recurrent import expand_rank
from tftrain.core.scaled_objective import Portion, Share
from tftrain.core.types import Batch, Objective, Tensor, Tree


def count() -> int:
    """Return the number of replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def scope_of(variable: tf.Variable) -> AbstractContextManager:
    """Return the context in which the copies of a variable on several devices are read and written as one."""
    # Plain variables have no strategy.
    strategy = getattr(variable, "distribute_strategy", None)
    return nullcontext() if strategy is None else strategy.scope()


def first_of(variable: tf.Variable) -> AbstractContextManager:
    """Return the context in which the first copy of a variable stands for all, and what is run is run once."""
    strategy = getattr(variable, "distribute_strategy", None)
    if strategy is None:
        return nullcontext()
    return tf.distribute.ReplicaContext(strategy, 0)


def local_batch(batch: Batch) -> tuple[Batch, Tensor | None]:
    """Return this replica's rows of the global batch, and how many count, float32; None where there is one replica.

    Where there are fewer examples than replicas, the last ones get an example that does not count: what a model
    computes of none at all, such as the statistics of batch normalization, would be NaN for ever.
    """
    if count() == 1:
        return batch, None
    first, stop, rows = _local_rows(batch)
    parts = [
        None
        if part is None
        else tf.nest.map_structure(lambda leaf: leaf[first:stop], part)
        for part in batch
    ]
    return Batch(*parts), tf.cast(rows, tf.float32)


def _local_rows(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return this replica's first row of the global batch, the row after its last, and how many of them count."""
    context = tf.distribute.get_replica_context()
    index = context.replica_id_in_sync_group
    replicas = count()
    examples = _batch_size(batch)
    rows = examples // replicas
    remainder = examples % replicas
    start = index * rows + tf.minimum(index, remainder)
    rows += tf.cast(index < remainder, tf.int32)
    first = tf.minimum(start, examples - 1)
    return first, first + tf.maximum(rows, 1), rows


def local_carry(carry: Tree, batch: Batch) -> Tree:
    """Return this replica's rows of a carry.

    Args:
        carry: it has a row for each example of the largest batch.
        batch: the global one.
    """
    if not carry:
        return carry
    if count() > 1:
        first, stop, _ = _local_rows(batch)
    else:
        first, stop = 0, _batch_size(batch)
    return tf.nest.map_structure(lambda leaf: leaf[first:stop], carry)


def global_carry(local: Tree, carry: Tree, batch: Batch) -> Tree:
    """Return a carry with the new rows of all replicas; rows beyond the batch stay as they were.

    Args:
        local: the new rows of this replica.
        carry: the carry before the step.
        batch: the global one.
    """
    if not carry:
        return carry
    old_leaves = tf.nest.flatten(carry)
    new_leaves = tf.nest.flatten(local)
    examples = _batch_size(batch)
    if count() == 1:
        leaves = [
            tf.concat([new, old[examples:]], 0)
            for new, old in zip(new_leaves, old_leaves, strict=True)
        ]
    else:
        size = old_leaves[0].shape[0]
        in_batch = tf.range(size) < examples
        sums = _sum_rows(new_leaves, size, batch)
        leaves = [
            tf.where(expand_rank(in_batch, new), new, old)
            for new, old in zip(sums, old_leaves, strict=True)
        ]
    leaves = [
        tf.ensure_shape(leaf, old.shape)
        for leaf, old in zip(leaves, old_leaves, strict=True)
    ]
    return tf.nest.pack_sequence_as(carry, leaves)


def _sum_rows(leaves: list[Tensor], size: int, batch: Batch) -> list[Tensor]:
    """Put the rows of all replicas together, [size, ...]: a collective must have the same size in every step."""
    first, stop, rows = _local_rows(batch)
    indices = tf.range(size)
    is_local = (indices >= first) & (indices < stop) & (rows > 0)
    padded = []
    for leaf in leaves:
        other_axes = [[0, 0]] * (leaf.shape.rank - 1)
        leaf = tf.pad(leaf, [[first, size - stop], *other_axes])
        padded.append(
            tf.where(expand_rank(is_local, leaf), leaf, tf.zeros_like(leaf))
        )
    return _sum_by_type(padded)


def _batch_size(batch: Batch) -> Tensor:
    return tf.shape(tf.nest.flatten(batch.x)[0])[0]


def weighted_objective(
    objective: Objective, batch: Batch, rows: Tensor | None
) -> Objective:
    """Return the objective multiplied by this replica's share of the batch, so that the losses of all add up.

    That is before it is differentiated, because a layer may join the replicas, such as synchronized batch
    normalization.

    Args:
        objective: the model and its loss.
        batch: the rows of this replica.
        rows: how many of them count; None where there is one replica.
    """
    if rows is None:
        return objective
    mass = tf.where(rows > 0, tf.reduce_sum(objective.masses(batch)), 0)
    share = Share(
        *_shares_of([mass, rows]), present=tf.cast(rows > 0, tf.float32)
    )
    return Portion(objective, share)


def sum_tensors(values: Any) -> Any:
    """Return the sum over the replicas of a tensor, or of each of several of one type."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def sync_buffers(
    variables: Sequence[tf.Variable],
    old_values: Sequence[Tensor],
    rows: Tensor | None,
) -> None:
    """Give all replicas the same values of variables that each has changed by itself.

    Real numbers move by the mean of all changes, such as the averages of batch normalization; a counter or a flag, such
    as that of dropout's draws, is what the first replica's is.

    Args:
        variables: the model's variables that are not trained.
        old_values: their values before the forward pass.
        rows: how many rows of this replica count; None where there is one replica.
    """
    if rows is None or not variables:
        return
    (share,) = _shares_of([rows])
    context = tf.distribute.get_replica_context()
    is_first = context.replica_id_in_sync_group == 0
    contributions = []
    for variable, old in zip(variables, old_values, strict=True):
        value = variable.read_value()
        if (
            value.dtype.is_floating
        ):  # one that did not change stays the same to the bit
            contributions.append((value - old) * tf.cast(share, value.dtype))
        else:
            contributions.append(
                tf.where(is_first, tf.cast(value, tf.int64), 0)
            )
    sums = _sum_by_type(contributions)
    for variable, old, total in zip(variables, old_values, sums, strict=True):
        if old.dtype.is_floating:
            variable.assign(old + total)
        else:
            variable.assign(tf.cast(total, old.dtype))


def where_rows(rows: Tensor | None, action: Callable[[], None]) -> None:
    """Do an action where this replica has examples that count; it may not merge over replicas.

    Args:
        rows: how many; None where there is one replica.
        action: what to do.
    """
    if rows is None:
        action()
    else:
        tf.cond(rows > 0, lambda: _call_for_zero(action), lambda: 0)


def _shares_of(values: list[Tensor]) -> list[Tensor]:
    totals = sum_tensors(values)
    return [
        tf.math.divide_no_nan(value, total)
        for value, total in zip(values, totals, strict=True)
    ]


def _sum_by_type(values: Sequence[Tensor]) -> list[Tensor]:
    """Sum values of several types; tf.distribute packs the values of a sum into one tensor."""
    sums: list = [None] * len(values)
    for dtype in dict.fromkeys(value.dtype for value in values):
        indices = [
            index for index, value in enumerate(values) if value.dtype == dtype
        ]
        sums_of_type = sum_tensors([values[index] for index in indices])
        for index, total in zip(indices, sums_of_type, strict=True):
            sums[index] = total
    return sums


def per_replica_seeds(model: Any) -> None:
    """Give each replica random numbers of its own, such as dropout's; those of the first are as without replicas.

    A layer's seed generators have the same state on all replicas, so the replica's number goes into what they give.
    """
    if count() == 1:
        return
    generators = {
        id(generator): generator
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
    }
    for generator in generators.values():
        draw_seed = functools.partial(_draw_replica_seed, generator.next)
        replace_attribute(generator, "next", draw_seed)


def _draw_replica_seed(draw: Callable, *args: Any, **kwargs: Any) -> Tensor:
    seed = draw(*args, **kwargs)
    context = tf.distribute.get_replica_context()
    if context is None:
        return seed
    # The seed is a pair: the generator's own number, and how often it was asked. A step by the golden ratio of 2^32
    # leads far from the numbers of the model's other generators.
    index = tf.cast(context.replica_id_in_sync_group, tf.uint32)
    offset = index * tf.constant(0x9E3779B9, tf.uint32)
    return seed + tf.cast(tf.stack([offset, tf.zeros_like(offset)]), seed.dtype)


@contextmanager
def taking_sums(optimizer: Any) -> Iterator[None]:
    """Have a Keras optimizer take gradients, in the block, that are sums over the replicas already.

    Keras would sum them once more. With a single replica TensorFlow keeps the graph of such a sum as long as the
    process lives, and with it every variable of the run.
    """
    sum_function = list if count() == 1 else _equalize_gradients
    replace_attribute(optimizer, "_all_reduce_sum_gradients", sum_function)
    try:
        yield
    finally:
        # Each replica comes here, one after the other.
        restore_attribute(optimizer, "_all_reduce_sum_gradients")


def _equalize_gradients(
    grads_and_vars: Sequence[tuple[Gradient, Any]],
) -> list[tuple[Gradient, Any]]:
    """Return gradients that are the same to the bit on all replicas, which may round differently: their means.

    Of a sparse one, whose rows have no size that a collective could go by, that of the first replica; several workers
    take the mean of the whole table.
    """
    grads, variables = zip(*grads_and_vars, strict=True)
    if not isinstance(
        tf.distribute.get_strategy(), tf.distribute.MirroredStrategy
    ):
        grads = [tf.convert_to_tensor(grad) for grad in grads]
    dense = [
        grad / count()
        for grad in grads
        if not isinstance(grad, tf.IndexedSlices)
    ]
    means = iter(sum_tensors(dense) if dense else [])
    grads = [
        _take_first_replica(grad)
        if isinstance(grad, tf.IndexedSlices)
        else next(means)
        for grad in grads
    ]
    return list(zip(grads, variables, strict=True))


def _take_first_replica(grad: tf.IndexedSlices) -> tf.IndexedSlices:
    def take_first(strategy: Any, leaves: list) -> list[Tensor]:
        return [strategy.experimental_local_results(leaf)[0] for leaf in leaves]

    context = tf.distribute.get_replica_context()
    leaves = [grad.values, grad.indices]
    values, indices = context.merge_call(take_first, args=(leaves,))
    return tf.IndexedSlices(values, indices, grad.dense_shape)


def replicated_cond(
    flag: Tensor, action: Callable, otherwise: Callable | None, values: Tree
) -> None:
    """Do one of two actions in a graph.

    A conditional may not hold a merge over replicas, such as an optimizer's update, so it stands outside of them. The
    values go through arguments, because a closure would hand every replica the tensors of the first one.

    Args:
        flag: the same on all replicas.
        action: called with the values where the flag is set.
        otherwise: called with them where it is not, if given.
        values: tensors.
    """
    if not tf.distribute.has_strategy():
        while_cond(flag, lambda: _call_for_zero(action, values))
        if otherwise is not None:
            while_cond(~flag, lambda: _call_for_zero(otherwise, values))
        return
    leaves = tf.nest.flatten(values, expand_composites=True)

    def on_replica(choice: Callable, *leaves: Tensor) -> None:
        choice(
            tf.nest.pack_sequence_as(
                values, list(leaves), expand_composites=True
            )
        )

    def choose_branch(strategy: Any, flag: Any, *leaves: Any) -> None:
        def run_everywhere(choice: Callable) -> int:
            strategy.extended.call_for_each_replica(
                on_replica, args=(choice, *leaves)
            )
            return 0

        first = strategy.experimental_local_results(flag)[0]
        tf.cond(
            first,
            lambda: run_everywhere(action),
            lambda: run_everywhere(otherwise) if otherwise else 0,
        )

    tf.distribute.get_replica_context().merge_call(
        choose_branch, args=(flag, *leaves)
    )


def _call_for_zero(action: Callable, *values: Tree) -> int:
    action(*values)
    return 0


def run(step: Callable, batch: Batch) -> Tree:
    """Run a step on every replica, and return what the first one of this process returns.

    Args:
        step: a function of a batch.
        batch: the global one, which each replica is given.
    """
    if not tf.distribute.has_strategy():
        return step(batch)
    strategy = tf.distribute.get_strategy()
    results = strategy.run(step, args=(batch,))
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], results
    )
