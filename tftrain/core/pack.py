"""A tree of tensors as one vector of bits: a graph that gives few tensors is called, and looped, faster."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor, Tree

_WHOLE = {tf.float32: 1, tf.int32: 1, tf.uint32: 1, tf.float64: 2, tf.int64: 2, tf.uint64: 2}  # int32 for each number


class _Place(NamedTuple):
    """Where a leaf lies; `start` is None for one among the texts, whose number is then `stop`."""

    dtype: tf.DType
    shape: tuple[int, ...]
    start: int | None
    stop: int


class Packing:
    """Packs trees of one structure, which it learns while a graph is traced, and unpacks them on the host.

    Numbers lie bit for bit in int32, smaller types as float32 or int32; what has no fixed shape is text, serialized.
    """

    def __init__(self):
        self._tree: Tree = ()
        self._places: list[_Place] = []
        self.numbers = self.texts = 0  # how many a tree has

    def packed(self, tree: Tree) -> tuple[Tensor, Tensor]:
        """[numbers] int32 and [texts] string."""
        leaves = [_whole(tf.convert_to_tensor(leaf)) for leaf in tf.nest.flatten(tree)]
        self._tree = tf.nest.map_structure(lambda _: 0, tree)
        fixed = [index for index, leaf in enumerate(leaves) if leaf.dtype in _WHOLE and leaf.shape.is_fully_defined()]
        fixed.sort(key=lambda index: (leaves[index].dtype.as_datatype_enum, leaves[index].shape.rank > 0))
        places, size = {}, 0
        for index in fixed:
            start, size = size, size + leaves[index].shape.num_elements() * _WHOLE[leaves[index].dtype]
            places[index] = (start, size)
        others = [index for index in range(len(leaves)) if index not in places]
        places |= {index: (None, number) for number, index in enumerate(others)}
        self._places = [_Place(leaf.dtype, tuple(leaf.shape), *places[index]) for index, leaf in enumerate(leaves)]
        self.numbers, self.texts = size, len(others)
        texts = [tf.io.serialize_tensor(leaves[index]) for index in others]
        return _joined([leaves[index] for index in fixed]), tf.stack(texts) if texts else tf.constant([], tf.string)

    def unpacked(self, numbers: np.ndarray, texts: np.ndarray | None = None) -> Tree:
        """The tree, each leaf with the leading axis of `numbers`, [many, numbers]; texts are [many, texts]."""
        leaves = []
        for dtype, shape, start, stop in self._places:
            if start is None:
                leaves.append([tf.io.parse_tensor(text, dtype).numpy() for text in texts[:, stop]])
            else:
                bits = np.ascontiguousarray(numbers[:, start:stop])
                leaves.append(bits.view(dtype.as_numpy_dtype).reshape(len(numbers), *shape))
        return tf.nest.pack_sequence_as(self._tree, leaves)


def _whole(leaf: Tensor) -> Tensor:
    if leaf.dtype in (tf.float16, tf.bfloat16):
        return tf.cast(leaf, tf.float32)
    return tf.cast(leaf, tf.int32) if leaf.dtype in (tf.bool, tf.int8, tf.uint8, tf.int16, tf.uint16) else leaf


def _joined(leaves: list[Tensor]) -> Tensor:
    """The bits of all, which stand in the order of their types, and scalars before others of their type."""
    bits = []
    for _, alike in itertools.groupby(leaves, key=lambda leaf: leaf.dtype):
        alike = list(alike)
        scalars = [leaf for leaf in alike if leaf.shape.rank == 0]
        vectors = [tf.reshape(leaf, [-1]) if leaf.shape.rank > 1 else leaf for leaf in alike[len(scalars) :]]
        whole = _concatenated([*([tf.stack(scalars)] if scalars else []), *vectors])
        pairs = tf.bitcast(whole, tf.int32)
        bits.append(pairs if pairs.shape.rank == 1 else tf.reshape(pairs, [-1]))
    return _concatenated(bits) if bits else tf.zeros([0], tf.int32)


def _concatenated(vectors: list[Tensor]) -> Tensor:
    return vectors[0] if len(vectors) == 1 else tf.concat(vectors, 0)
