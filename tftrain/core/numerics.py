"""The sizes of tensors, each read once: a global norm is the root of the sum of its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.types import Tensor

# Squares in float32 are told from 0 and from Inf where a sum lies between; else numbers are multiplied first.
_LEAST, _MOST = 1e-24, tf.float32.max
_RAISED, _LOWERED = 2.0**80, 2.0**-80
_SMALL = (
    2**11
)  # elements of all tensors, up to which float64 costs less than to see whether it is needed
_LARGE = (
    2**18
)  # elements of a tensor, from which on a pass costs more than a decision
_KNOWN = "tftrain_norms"


def square_sums(tensors: Sequence[Gradient]) -> Tensor:
    """The sum of squares of each tensor, [tensors], float64, to a relative 1e-6, over the whole range of float32.

    In a graph the same tensors are read once, however often this is asked for.
    """
    if not tensors:
        return tf.zeros([0], tf.float64)
    values = [tf.cast(stored_values(tensor), tf.float32) for tensor in tensors]
    return _cached_in_graph(_square_sums, values)


def norms(tensors: Sequence[Gradient]) -> Tensor:
    """The L2 norm of each tensor, [tensors], float32."""
    return tf.cast(tf.sqrt(square_sums(tensors)), tf.float32)


def global_norm(squares: Tensor) -> Tensor:
    """The L2 norm of all tensors together, float32, from their `square_sums`."""
    return _cached_in_graph(_root_of_sum, [squares])


def _cached_in_graph(
    function: Callable[[list[Tensor]], Tensor], tensors: list[Tensor]
) -> Tensor:
    """`function(tensors)`, in a graph the one that is there already, if it is."""
    if tf.executing_eagerly():
        return function(tensors)
    graph = tf.compat.v1.get_default_graph()
    known = graph.get_collection_ref(
        _KNOWN
    )  # with those of the graphs within and around it
    for cached_function, cached_tensors, result in known:
        same = (
            cached_function is function
            and len(cached_tensors) == len(tensors)
            and result.graph is graph
        )
        if same and all(
            this is that
            for this, that in zip(cached_tensors, tensors, strict=True)
        ):
            return result
    known.append((function, tensors, function(tensors)))
    return known[-1][2]


def _root_of_sum(squares: list[Tensor]) -> Tensor:
    return tf.cast(tf.sqrt(tf.reduce_sum(squares[0])), tf.float32)


def _square_sums(values: list[Tensor]) -> Tensor:
    sizes = [value.shape.num_elements() for value in values]
    if None not in sizes and sum(sizes) <= _SMALL:
        return 2 * tf.stack(
            [tf.nn.l2_loss(tf.cast(value, tf.float64)) for value in values]
        )
    sums = tf.stack([tf.nn.l2_loss(value) for value in values])  # half of each
    beyond = tf.reduce_any(
        sums
        != tf.raw_ops.ClipByValue(
            t=sums, clip_value_min=_LEAST, clip_value_max=_MOST
        )
    )
    (sums,) = while_cond(
        beyond,
        lambda sums: (_with_wide_sums(values, sums),),
        tf.cast(sums, tf.float64),
    )
    return 2 * sums


def _with_wide_sums(values: list[Tensor], sums: Tensor) -> Tensor:
    """The sums, where they are beyond what float32 can square taken anew of multiples of the values."""
    factors = tf.where(
        sums < _LEAST, _RAISED, tf.where(sums <= _MOST, 0.0, _LOWERED)
    )  # float32
    anew = [
        _scaled_sum(value, factor)
        for value, factor in zip(values, tf.unstack(factors), strict=True)
    ]
    squares = tf.square(tf.cast(factors, tf.float64))
    return tf.where(
        factors > 0, tf.cast(tf.stack(anew), tf.float64) / squares, sums
    )


def _scaled_sum(value: Tensor, factor: Tensor) -> Tensor:
    size = value.shape.num_elements()
    if size is not None and size < _LARGE:
        return tf.nn.l2_loss(value * factor)
    (total,) = while_cond(
        factor > 0, lambda _: (tf.nn.l2_loss(value * factor),), tf.constant(0.0)
    )
    return total


def while_cond(flag: Tensor, action: Callable[..., Any], *values: Any) -> Any:
    """Return `action(*values)` where a flag is set, else the values themselves, in a graph.

    A loop of at most one turn and not a tf.cond, which the serial executor hands to another thread and waits for: some
    100 microseconds, as long as a small model's step.

    Args:
        flag: a scalar tensor.
        action: called with the values; it returns as many. Without values it returns nothing.
        *values: tensors.
    """

    def turn(_: Tensor, *values: Any) -> tuple:
        results = action(*values)
        return (False, *results) if values else (False,)

    return tf.while_loop(
        lambda pending, *_: pending,
        turn,
        (flag, *values),
        parallel_iterations=1,
    )[1:]


Gradient = Any  # a tensor, or tf.IndexedSlices


def gradient_dtype() -> tf.DType:
    """What gradients are in, whatever the layers compute in: float64 where that is Keras' floatx, else float32."""
    return tf.float64 if keras.config.floatx() == "float64" else tf.float32


def sum_duplicate_rows(grad: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with repeated rows summed: norms of the values are then norms of the gradient."""
    rows, position = tf.unique(grad.indices)
    values = tf.math.unsorted_segment_sum(
        tf.cast(grad.values, gradient_dtype()), position, tf.shape(rows)[0]
    )
    return tf.IndexedSlices(values, rows, grad.dense_shape)


def concat_sparse(grads: list[tf.IndexedSlices]) -> tf.IndexedSlices:
    """The sum of sparse gradients of one parameter."""
    values, rows = (
        tf.concat([grad.values for grad in grads], 0),
        tf.concat([grad.indices for grad in grads], 0),
    )
    return sum_duplicate_rows(
        tf.IndexedSlices(values, rows, grads[0].dense_shape)
    )


def stored_values(grad: Gradient) -> Tensor:
    """The numbers of a gradient that are stored: all of them, or those of the rows that a sparse one has."""
    return grad.values if isinstance(grad, tf.IndexedSlices) else grad


def with_values(grad: Gradient, values: Tensor) -> Gradient:
    """Return a gradient with other numbers in the same places.

    Args:
        grad: dense or sparse.
        values: as many as it stores.
    """
    if isinstance(grad, tf.IndexedSlices):
        return tf.IndexedSlices(values, grad.indices, grad.dense_shape)
    return values
