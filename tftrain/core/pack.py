"""A tree of tensors as one vector of bits: a graph that gives few tensors is called, and looped, faster."""

from __future__ import annotations

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
        self._tree, self._places, size = tf.nest.map_structure(lambda _: 0, tree), [], 0
        vectors, texts = [], []
        for leaf in tf.nest.flatten(tree):
            leaf = _whole(tf.convert_to_tensor(leaf))
            if leaf.dtype in _WHOLE and leaf.shape.is_fully_defined():
                start, size = size, size + leaf.shape.num_elements() * _WHOLE[leaf.dtype]
                self._places.append(_Place(leaf.dtype, tuple(leaf.shape), start, size))
                vectors.append(leaf)
            else:
                self._places.append(_Place(leaf.dtype, tuple(leaf.shape), None, len(texts)))
                texts.append(tf.io.serialize_tensor(leaf))
        self.numbers, self.texts = size, len(texts)
        return tf.ensure_shape(_joined(vectors), [size]), tf.stack(texts) if texts else tf.constant([], tf.string)

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
    """The bits of all, in order; neighbouring scalars of one type take one operation together."""
    pieces: list[list[Tensor]] = []
    for leaf in leaves:
        scalar = leaf.shape.rank == 0
        if scalar and pieces and pieces[-1][0].shape.rank == 0 and pieces[-1][0].dtype == leaf.dtype:
            pieces[-1].append(leaf)
        else:
            pieces.append([leaf])
    vectors = [tf.stack(piece) if piece[0].shape.rank == 0 else piece[0] for piece in pieces]
    bits = [tf.reshape(tf.bitcast(vector, tf.int32), [-1]) for vector in vectors]
    return tf.concat(bits, 0) if bits else tf.zeros([0], tf.int32)
