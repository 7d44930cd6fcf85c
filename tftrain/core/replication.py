"""The only place that asks how many devices there are: what each replica takes of a batch, and what all agree on.

With one replica every function here adds nothing to the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import tensorflow as tf

from tftrain.core.numerics import Gradient, sum_duplicate_rows, while_cond
from tftrain.core.recurrent import expand_rank
from tftrain.core.scaled_objective import Portion, Share
from tftrain.core.types import Batch, Objective, Tensor, Tree


def count() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def scope_of(variable: tf.Variable) -> AbstractContextManager:
    """Where the copies of a variable that lie on several devices are read and written as one."""
    strategy = getattr(
        variable, "distribute_strategy", None
    )  # plain variables have none
    return nullcontext() if strategy is None else strategy.scope()


def first_of(variable: tf.Variable) -> AbstractContextManager:
    """Where the first copy of a variable stands for all of them, and what is run is run once."""
    strategy = getattr(variable, "distribute_strategy", None)
    return (
        nullcontext() if strategy is None else tf.distribute.ReplicaContext(strategy, 0)
    )


def local_batch(batch: Batch) -> tuple[Batch, Tensor | None]:
    """This replica's rows of the global batch, and how many count, float32; None where there is one replica.

    Where there are fewer examples than replicas, the last ones get an example that does not count: what a model
    computes of none at all, such as the statistics of batch normalisation, would be NaN for ever.
    """
    if count() == 1:
        return batch, None
    first, stop, rows = _own_rows(batch)
    parts = [
        part
        if part is None
        else tf.nest.map_structure(lambda leaf: leaf[first:stop], part)
        for part in batch
    ]
    return Batch(*parts), tf.cast(rows, tf.float32)


def _own_rows(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """From which row of the global batch, before which one, and how many of them count."""
    index, replicas = (
        tf.distribute.get_replica_context().replica_id_in_sync_group,
        count(),
    )
    examples = tf.shape(tf.nest.flatten(batch.x)[0])[0]
    rows, more = examples // replicas, examples % replicas
    start = index * rows + tf.minimum(index, more)
    rows += tf.cast(index < more, tf.int32)
    first = tf.minimum(start, examples - 1)
    return first, first + tf.maximum(rows, 1), rows


def own_carry(carry: Tree, batch: Batch) -> Tree:
    """This replica's rows of a carry, which has a row for each example of the largest batch."""
    if not carry:
        return carry
    first, stop = (
        _own_rows(batch)[:2]
        if count() > 1
        else (0, tf.shape(tf.nest.flatten(batch.x)[0])[0])
    )
    return tf.nest.map_structure(lambda leaf: leaf[first:stop], carry)


def whole_carry(own: Tree, carry: Tree, batch: Batch) -> Tree:
    """The carry with the new rows of all replicas; those beyond the batch stay as they were."""
    if not carry:
        return carry
    old, new = tf.nest.flatten(carry), tf.nest.flatten(own)
    examples, size = tf.shape(tf.nest.flatten(batch.x)[0])[0], old[0].shape[0]
    if count() == 1:
        found = [
            tf.concat([leaf, before[examples:]], 0)
            for leaf, before in zip(new, old, strict=True)
        ]
    else:
        # What is summed over replicas must have the same size in every step.
        first, stop, rows = _own_rows(batch)
        counts = (tf.range(size) >= first) & (tf.range(size) < stop) & (rows > 0)
        padded = [
            tf.pad(leaf, [[first, size - stop]] + [[0, 0]] * (leaf.shape.rank - 1))
            for leaf in new
        ]
        summed = _sums(
            [
                tf.where(expand_rank(counts, leaf), leaf, tf.zeros_like(leaf))
                for leaf in padded
            ]
        )
        there = tf.range(size) < examples
        found = [
            tf.where(expand_rank(there, leaf), leaf, before)
            for leaf, before in zip(summed, old, strict=True)
        ]
    shaped = [
        tf.ensure_shape(leaf, before.shape)
        for leaf, before in zip(found, old, strict=True)
    ]
    return tf.nest.pack_sequence_as(carry, shaped)


def weighted_objective(
    objective: Objective, batch: Batch, rows: Tensor | None
) -> Objective:
    """The objective, multiplied by this replica's share of the batch, so that the losses of all add up.

    Before it is differentiated, because a layer may join the replicas, such as synchronized batch normalisation.
    """
    if rows is None:
        return objective
    mass = tf.where(rows > 0, tf.reduce_sum(objective.masses(batch)), 0)
    return Portion(
        objective, Share(*_shares([mass, rows]), present=tf.cast(rows > 0, tf.float32))
    )


def all_reduce_sum(values: Sequence[Gradient]) -> list[Gradient]:
    """The sums of values over the replicas."""
    if count() == 1:
        return list(values)
    sums = iter(
        _sum([value for value in values if not isinstance(value, tf.IndexedSlices)])
    )
    rows = iter(
        _sum_sparse([value for value in values if isinstance(value, tf.IndexedSlices)])
    )
    return [
        next(rows if isinstance(value, tf.IndexedSlices) else sums) for value in values
    ]


def _sum_sparse(grads: list[tf.IndexedSlices]) -> list[tf.IndexedSlices]:
    """The sums of sparse gradients over the replicas, each row once.

    A batch touches more or fewer rows than the one before it, and a collective that runs in a loop must have the same
    size each time. So the rows of all replicas are joined without one where this process holds all of them; several
    workers sum the whole table.
    """
    if not grads:
        return []
    if not isinstance(tf.distribute.get_strategy(), tf.distribute.MirroredStrategy):
        return [_sum_as_table(grad) for grad in grads]

    def join(strategy: Any, leaves: list) -> list[Tensor]:
        return [
            tf.concat(strategy.experimental_local_results(leaf), 0) for leaf in leaves
        ]

    leaves = [leaf for grad in grads for leaf in (grad.values, grad.indices)]
    joined = tf.distribute.get_replica_context().merge_call(join, args=(leaves,))
    pairs = zip(joined[::2], joined[1::2], grads, strict=True)
    return [
        sum_duplicate_rows(tf.IndexedSlices(values, indices, grad.dense_shape))
        for values, indices, grad in pairs
    ]


def _sum_as_table(grad: tf.IndexedSlices) -> tf.IndexedSlices:
    """The sum over the replicas by way of a dense table, as large as the parameter."""
    height = tf.cast(grad.dense_shape[0], grad.indices.dtype)
    touched = tf.ones(tf.shape(grad.indices), grad.values.dtype)
    table, counts = _sum(
        [
            tf.math.unsorted_segment_sum(leaf, grad.indices, height)
            for leaf in (grad.values, touched)
        ]
    )
    rows = tf.cast(tf.where(counts > 0)[:, 0], grad.indices.dtype)
    return tf.IndexedSlices(tf.gather(table, rows), rows, grad.dense_shape)


def sync_buffers(
    variables: Sequence[tf.Variable], before: Sequence[Tensor], rows: Tensor | None
) -> None:
    """Give all replicas the same values of variables that each has changed by itself.

    Numbers move by the mean of all changes, such as the averages of batch normalisation; a counter or a flag, such as
    that of dropout's draws, is what the first replica's is.
    """
    if rows is None or not variables:
        return
    (share,), first = (
        _shares([rows]),
        tf.distribute.get_replica_context().replica_id_in_sync_group == 0,
    )
    told = []
    for variable, start in zip(variables, before, strict=True):
        value = variable.read_value()
        if value.dtype.is_floating:  # one that did not change stays the same to the bit
            told.append((value - start) * tf.cast(share, value.dtype))
        else:
            told.append(tf.where(first, tf.cast(value, tf.int64), 0))
    for variable, start, of_all in zip(variables, before, _sums(told), strict=True):
        variable.assign(
            start + of_all if start.dtype.is_floating else tf.cast(of_all, start.dtype)
        )


def where_rows(rows: Tensor | None, action: Callable[[], None]) -> None:
    """Do the action where this replica has examples that count; it may not merge over replicas."""
    if rows is None:
        action()
    else:
        tf.cond(rows > 0, lambda: _done(action), lambda: 0)


def _shares(values: list[Tensor]) -> list[Tensor]:
    return [
        tf.math.divide_no_nan(value, whole)
        for value, whole in zip(values, _sum(values), strict=True)
    ]


def _sum(values: Any) -> Any:
    return tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, values
    )


def _sums(values: Sequence[Tensor]) -> list[Tensor]:
    """As `_sum`, of values of several types; tf.distribute packs what it is given into one tensor."""
    found: list = [None] * len(values)
    for dtype in dict.fromkeys(value.dtype for value in values):
        places = [place for place, value in enumerate(values) if value.dtype == dtype]
        for place, value in zip(
            places, _sum([values[place] for place in places]), strict=True
        ):
            found[place] = value
    return found


def per_replica_seeds(model: Any) -> None:
    """Give each replica random numbers of its own, such as dropout's; those of the first are as without replicas.

    A layer's seed generators lie on all replicas in the same state, so the number of the replica goes into what they
    give.
    """
    if count() == 1:
        return
    generators = {
        id(one): one
        for layer in model._flatten_layers()
        for one in layer._seed_generators
    }
    for generator in generators.values():
        generator.next = functools.partial(_own_seed, generator.next)


def _own_seed(draw: Callable, *args: Any, **kwargs: Any) -> Tensor:
    seed, context = draw(*args, **kwargs), tf.distribute.get_replica_context()
    if context is None:
        return seed
    # The seed is a pair: the generator's own number, and how often it was asked. A step by the golden ratio of 2^32
    # leads far from the numbers of the model's other generators.
    index = tf.cast(context.replica_id_in_sync_group, tf.uint32) * tf.constant(
        0x9E3779B9, tf.uint32
    )
    return seed + tf.cast(tf.stack([index, tf.zeros_like(index)]), seed.dtype)


@contextmanager
def summed(optimizer: Any) -> Iterator[None]:
    """While it lasts, a Keras optimizer takes gradients that are sums over the replicas already.

    Keras would sum them once more. With a single replica TensorFlow keeps the graph of such a sum as long as the
    process lives, and with it every variable of the run.
    """
    vars(optimizer)["_all_reduce_sum_gradients"] = list if count() == 1 else _equalized
    try:
        yield
    finally:
        vars(optimizer).pop(
            "_all_reduce_sum_gradients", None
        )  # each replica comes here, one after the other


def _equalized(
    grads_and_vars: Sequence[tuple[Gradient, Any]],
) -> list[tuple[Gradient, Any]]:
    """The same gradients to the bit on all replicas, which may round in different ways: their mean.

    Of a sparse one, whose rows have no size that a collective could go by, that of the first replica; several workers
    take the mean of the whole table.
    """
    grads, variables = zip(*grads_and_vars, strict=True)
    if not isinstance(tf.distribute.get_strategy(), tf.distribute.MirroredStrategy):
        grads = [tf.convert_to_tensor(grad) for grad in grads]
    dense = [grad / count() for grad in grads if not isinstance(grad, tf.IndexedSlices)]
    means = iter(_sum(dense) if dense else [])
    grads = [
        _of_first_replica(grad) if isinstance(grad, tf.IndexedSlices) else next(means)
        for grad in grads
    ]
    return list(zip(grads, variables, strict=True))


def _of_first_replica(grad: tf.IndexedSlices) -> tf.IndexedSlices:
    def first(strategy: Any, leaves: list) -> list[Tensor]:
        return [strategy.experimental_local_results(leaf)[0] for leaf in leaves]

    leaves = [grad.values, grad.indices]
    values, indices = tf.distribute.get_replica_context().merge_call(
        first, args=(leaves,)
    )
    return tf.IndexedSlices(values, indices, grad.dense_shape)


def replicated_cond(
    flag: Tensor, action: Callable, otherwise: Callable | None, values: Tree
) -> None:
    """Do `action(values)` where the flag is set, else `otherwise(values)`, if any; all replicas have the same flag.

    A conditional may not hold a merge over replicas, such as an optimizer's update, so it stands outside of them. The
    values go through arguments, because a closure would hand every replica the tensors of the first one.
    """
    if not tf.distribute.has_strategy():
        while_cond(flag, lambda: _done(action, values))
        if otherwise is not None:
            while_cond(~flag, lambda: _done(otherwise, values))
        return
    leaves = tf.nest.flatten(values, expand_composites=True)

    def on_replica(choice: Callable, *leaves: Tensor) -> None:
        choice(tf.nest.pack_sequence_as(values, list(leaves), expand_composites=True))

    def across(strategy: Any, flag: Any, *leaves: Any) -> None:
        def everywhere(choice: Callable) -> int:
            strategy.extended.call_for_each_replica(on_replica, args=(choice, *leaves))
            return 0

        first = strategy.experimental_local_results(flag)[0]
        tf.cond(
            first,
            lambda: everywhere(action),
            lambda: everywhere(otherwise) if otherwise else 0,
        )

    tf.distribute.get_replica_context().merge_call(across, args=(flag, *leaves))


def _done(action: Callable, *values: Tree) -> int:
    action(*values)
    return 0


def run(step: Callable, batch: Batch) -> Tree:
    """One step on every replica, each given the global batch; what the first one of this process returns."""
    if not tf.distribute.has_strategy():
        return step(batch)
    strategy = tf.distribute.get_strategy()
    found = strategy.run(step, args=(batch,))
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], found
    )


def of_first(numbers: Sequence[float], strategy: Any) -> list[float]:
    """On the host, the numbers that the first of several workers has; the others have some of their own there."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return list(numbers)
    return _first_worker(strategy)(tf.constant(numbers, tf.float64)).numpy().tolist()


def max_over_workers(number: int, strategy: Any) -> int:
    """On the host, the largest of the numbers that several workers have."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return number
    return int(_of_all_workers(strategy)(tf.constant(number, tf.int64)).numpy().max())


@functools.cache
def _of_all_workers(strategy: Any) -> Callable[[Tensor], Tensor]:
    def on_replica(number: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        return _sum(
            tf.one_hot(
                context.replica_id_in_sync_group,
                count(),
                number,
                tf.constant(0, tf.int64),
            )
        )

    def everywhere(number: Tensor) -> Tensor:
        return strategy.experimental_local_results(
            strategy.run(on_replica, args=(number,))
        )[0]

    return tf.function(
        everywhere, input_signature=[tf.TensorSpec([], tf.int64)], autograph=False
    )


@functools.cache
def _first_worker(strategy: Any) -> Callable[[Tensor], Tensor]:
    def on_replica(numbers: Tensor) -> Tensor:
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return _sum(tf.where(first, numbers, 0))

    def everywhere(numbers: Tensor) -> Tensor:
        return strategy.experimental_local_results(
            strategy.run(on_replica, args=(numbers,))
        )[0]

    return tf.function(
        everywhere, input_signature=[tf.TensorSpec([None], tf.float64)], autograph=False
    )
