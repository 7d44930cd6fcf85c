"""How numbers spread, counted in the graph in one pass: by magnitude, or in equal buckets.

The graph gives counts alone; what they say is worked out on the host, for all tensors together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor, Tree

# A half octave is the exponent and the first bit of the fraction of a float32; there are 512 for each sign.
_DROPPED_BITS, _HALF_OCTAVES = 22, 512
_FIRST_NORMAL, _FIRST_INFINITE = (
    2,
    510,
)  # before: zeros and denormals; from there on: Inf and NaN
_LEFT_EDGES = [
    (1 + half / 2) * 2.0 ** (exponent - 127)
    for exponent in range(1, 256)
    for half in (0, 1)
]
_LOG10_EDGES = np.log10(_LEFT_EDGES[:-1])  # of the buckets in between
_EQUAL_BUCKETS = 64
_PIECE, _WIDE_PIECE = (
    2**22,
    2**20,
)  # elements in work at one time, of 4 bytes, and of some times 8


def half_octaves(table: Tensor) -> dict[str, Tensor]:
    """Counts of float32 values by magnitude, of both signs together: [tensors, elements] to [tensors, 512].

    For each power of 2 there is a bucket from 1 to 1.5 times it, and one from there to 2 times it.
    """
    if is_small(table):
        return {
            "counts": _count_bins(
                _half_octave_index(tf.abs(table)), _HALF_OCTAVES
            )
        }
    # The sign is one more bit of the buckets, for to take it off is one more pass.
    counts = chunked_fold(
        lambda counts, values: (
            counts + _count_bins(_half_octave_index(values), 2 * _HALF_OCTAVES)
        ),
        tf.zeros([2 * _HALF_OCTAVES], tf.int32),
        tf.reshape(table, [-1]),
        _PIECE,
    )
    return {
        "counts": tf.reduce_sum(
            tf.reshape(counts, [1, 2, _HALF_OCTAVES]), axis=1
        )
    }


def zeros_of(counts: np.ndarray) -> np.ndarray:
    """How many values were 0, [tensors], denormals included, which TensorFlow takes for zeros."""
    return counts[:, :_FIRST_NORMAL].sum(axis=1)


def nonfinite_of(counts: np.ndarray) -> np.ndarray:
    """How many values were NaN or infinite, [tensors]."""
    return counts[:, _FIRST_INFINITE:].sum(axis=1)


def percentiles_of(
    counts: np.ndarray, percents: Sequence[float]
) -> list[float]:
    """Return percentiles of the magnitudes of all tensors together, without zeros and what is not finite.

    Args:
        counts: of the buckets, [tensors, buckets].
        percents: from 0 to 100.
    """
    totals = counts[:, _FIRST_NORMAL:_FIRST_INFINITE].sum(
        axis=0, dtype=np.float64
    )
    below = np.concatenate([[0.0], np.cumsum(totals)])
    filled = np.flatnonzero(totals)
    if not len(filled):
        return []
    # Numbers are taken to lie evenly in each bucket of log10, and a rank between two buckets at the end of the lower.
    ranks, edges = np.array(percents) / 100 * below[-1], _LOG10_EDGES
    places = filled[
        np.minimum(np.searchsorted(below[filled + 1], ranks), len(filled) - 1)
    ]
    shares = (ranks - below[places]) / totals[places]
    return (
        10 ** (edges[places] + shares * (edges[places + 1] - edges[places]))
    ).tolist()


def log10_rows(measured: dict) -> list[np.ndarray]:
    """Of each tensor [buckets, 3]: log10 of left and right edge, and the count, without empty buckets at both ends."""
    counts = measured["counts"][:, _FIRST_NORMAL:_FIRST_INFINITE]
    return _make_rows(
        np.broadcast_to(_LOG10_EDGES, (len(counts), len(_LOG10_EDGES))), counts
    )


def equal_buckets(table: Tensor) -> dict[str, Tensor]:
    """Counts of the finite values in 64 buckets between `low` and `high`: [tensors, elements] to [tensors, 64]."""
    if is_small(table):
        low, high = _widen_ends((np.inf, -np.inf), table)
        return {
            "counts": _equal_buckets(low, high)(0, table),
            "low": low,
            "high": high,
        }
    values = tf.reshape(table, [-1])
    low, high = chunked_fold(
        _widen_ends,
        (tf.constant(np.inf, tf.float32), tf.constant(-np.inf, tf.float32)),
        values,
        _WIDE_PIECE,
    )
    counts = chunked_fold(
        _equal_buckets(low, high),
        tf.zeros([_EQUAL_BUCKETS], tf.int32),
        values,
        _WIDE_PIECE,
    )
    return {"counts": counts[None], "low": low[None], "high": high[None]}


def value_rows(measured: dict) -> list[np.ndarray]:
    """Of each tensor [buckets, 3]: left and right edge, and the count, without empty buckets at both ends.

    A single value is in the middle of its range.
    """
    low, high, counts = (
        measured["low"].astype(np.float64),
        measured["high"].astype(np.float64),
        measured["counts"].copy(),
    )
    single = low == high
    counts[single] = np.where(
        np.arange(_EQUAL_BUCKETS) == _EQUAL_BUCKETS // 2, counts[single, :1], 0
    )
    margin = np.where(single, np.where(low == 0, 0.5, np.abs(low) / 2), 0)
    low, high = (
        np.where(np.isfinite(low), end, 0)
        for end in (low - margin, high + margin)
    )
    steps = np.arange(_EQUAL_BUCKETS + 1)
    return _make_rows(
        low[:, None] + (high - low)[:, None] / _EQUAL_BUCKETS * steps, counts
    )


def _make_rows(edges: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    filled = counts > 0
    first, last = (
        filled.argmax(axis=1),
        counts.shape[1] - filled[:, ::-1].argmax(axis=1),
    )
    last = np.where(filled.any(axis=1), last, first)
    tables = []
    for lefts, numbers, start, stop in zip(
        edges, counts, first, last, strict=True
    ):
        table = np.empty((stop - start, 3), np.float32)
        table[:, 0], table[:, 1], table[:, 2] = (
            lefts[start:stop],
            lefts[start + 1 : stop + 1],
            numbers[start:stop],
        )
        tables.append(table)
    return tables


def _half_octave_index(values: Tensor) -> Tensor:
    # As uint32, because of int32 the sign bit would be copied by the shift.
    bits = tf.bitwise.right_shift(
        tf.bitcast(values, tf.uint32), tf.constant(_DROPPED_BITS, tf.uint32)
    )
    return tf.bitcast(bits, tf.int32)


def _widen_ends(
    ends: tuple[Tensor, Tensor], values: Tensor
) -> tuple[Tensor, Tensor]:
    finite = tf.math.is_finite(values)
    low, high = (
        tf.where(finite, values, np.inf),
        tf.where(finite, values, -np.inf),
    )
    return tf.minimum(ends[0], tf.reduce_min(low, axis=-1)), tf.maximum(
        ends[1], tf.reduce_max(high, axis=-1)
    )


def _equal_buckets(
    low: Tensor, high: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """What adds the counts of values, [..., elements], to counts so far, [..., 64]."""
    start = tf.cast(low, tf.float64)[
        ..., None
    ]  # float32 overflows on the way from -3e38 to 3e38
    width = (tf.cast(high, tf.float64)[..., None] - start) / _EQUAL_BUCKETS
    width = tf.where(width > 0, width, tf.ones_like(width))

    def count(counts: Tensor, values: Tensor) -> Tensor:
        buckets = tf.cast(
            (tf.cast(values, tf.float64) - start) / width, tf.int32
        )
        buckets = tf.where(
            tf.math.is_finite(values),
            tf.minimum(buckets, _EQUAL_BUCKETS - 1),
            _EQUAL_BUCKETS,
        )
        return counts + _count_bins(
            buckets, _EQUAL_BUCKETS
        )  # which leaves out the one behind the last

    return count


def _count_bins(bins: Tensor, size: int) -> Tensor:
    # Not tf.math.bincount, which needs the largest bin first and does not compile under XLA.
    return tf.raw_ops.DenseBincount(
        input=bins, size=size, weights=tf.constant([], tf.int32)
    )


_SMALL = (
    2**14
)  # elements; more in one operation go to several threads, whose start costs more than it saves


def group_by_shape(tensors: Sequence[Tensor]) -> list[list[int]]:
    """The places of all tensors, in groups that `together` can take: small ones of one shape, or a single one."""
    groups: dict = {}
    for place, tensor in enumerate(tensors):
        max_tensors = max(
            _SMALL // max(tensor.shape.num_elements() or _SMALL, 1), 1
        )
        same = groups.setdefault(
            (tensor.dtype, *tensor.shape) if max_tensors > 1 else place, [[]]
        )
        if len(same[-1]) == max_tensors:
            same.append([])
        same[-1].append(place)
    return [places for same in groups.values() for places in same]


def stack_small(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as a table, [tensors, elements], float32."""
    table = tensors[0] if len(tensors) == 1 else tf.stack(tensors)
    return tf.reshape(tf.cast(table, tf.float32), [len(tensors), -1])


def is_small(table: Tensor) -> bool:
    """Whether it is for one thread; what is not small is a single row."""
    size = table.shape.num_elements()
    return size is not None and size <= _SMALL


def chunked_fold(
    fold: Callable[[Tree, Tensor], Tree],
    begin: Tree,
    values: Tensor,
    piece: int,
) -> Tree:
    """Fold a function over pieces of a vector.

    Args:
        fold: a function of what was folded so far, and a piece.
        begin: what it begins with.
        values: [elements].
        piece: elements of a piece.
    """
    size = tf.size(values) if values.shape[0] is None else values.shape[0]
    pieces, folded = size // piece, begin
    length = tf.minimum(
        piece, size
    )  # XLA compiles the loop, and would refuse a piece longer than all, though none is
    if values.shape[0] is None or pieces:
        _, folded = tf.while_loop(
            lambda index, _: index < pieces,
            lambda index, folded: (
                index + 1,
                fold(folded, tf.slice(values, [index * piece], [length])),
            ),
            (0, begin),
            parallel_iterations=1,
        )
    return fold(folded, values[pieces * piece :])
