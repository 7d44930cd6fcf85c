"""Many small tensors taken together, and large ones piece by piece: few operations, and little memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tftrain.core.types import Tensor, Tree

_SMALL = 2**14  # elements; more in one operation go to several threads, whose start costs more than it saves


def alike(tensors: Sequence[Tensor]) -> list[list[int]]:
    """The places of all tensors, in groups that `together` can take: small ones of one shape, or a single one."""
    groups: dict = {}
    for place, tensor in enumerate(tensors):
        most = max(_SMALL // max(tensor.shape.num_elements() or _SMALL, 1), 1)
        same = groups.setdefault((tensor.dtype, *tensor.shape) if most > 1 else place, [[]])
        if len(same[-1]) == most:
            same.append([])
        same[-1].append(place)
    return [places for same in groups.values() for places in same]


def together(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as a table, [tensors, elements], float32."""
    table = tensors[0] if len(tensors) == 1 else tf.stack(tensors)
    return tf.reshape(tf.cast(table, tf.float32), [len(tensors), -1])


def is_small(table: Tensor) -> bool:
    """Whether it is for one thread; what is not small is a single row."""
    size = table.shape.num_elements()
    return size is not None and size <= _SMALL


def folded(fold: Callable[[Tree, Tensor], Tree], begin: Tree, values: Tensor, piece: int) -> Tree:
    """What `fold(found, values)` has found, from `begin` on, after all pieces of `values`, [elements]."""
    size = tf.size(values) if values.shape[0] is None else values.shape[0]
    pieces, found = size // piece, begin
    length = tf.minimum(piece, size)  # XLA compiles the loop, and would refuse a piece longer than all, though none is
    if values.shape[0] is None or pieces:
        _, found = tf.while_loop(
            lambda index, _: index < pieces,
            lambda index, found: (index + 1, fold(found, tf.slice(values, [index * piece], [length]))),
            (0, begin),
            parallel_iterations=1,
        )
    return fold(found, values[pieces * piece :])
