"""A tree of tensors as one vector of bits: a graph that gives few tensors is called, and looped, faster."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor, Tree

_WHOLE = {
    tf.float32: 1,
    tf.int32: 1,
    tf.uint32: 1,
    tf.float64: 2,
    tf.int64: 2,
    tf.uint64: 2,
}  # int32 for each number


class _Place(NamedTuple):
    """Where a leaf lies, and as which type; `start` is None for one among the texts, whose number is then `stop`.

    The shape is None where not even the number of axes is known.
    """

    dtype: tf.DType
    whole: tf.DType
    shape: tuple[int, ...] | None
    start: int | None
    stop: int


class TensorPacker:
    """Packs trees of one structure, which it learns while a graph is traced, and unpacks them on the host.

    Numbers lie bit for bit in int32, smaller types as float32 or int32; what has no fixed shape, and what is of another
    type, is text, serialized.
    """

    def __init__(self):
        self._tree: Tree = ()
        self._places: list[_Place] = []
        self.numbers = self.texts = 0  # how many a tree has

    def packed(self, tree: Tree) -> tuple[Tensor, Tensor]:
        """[numbers] int32 and [texts] string."""
        tensors = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(tree)]
        leaves = list(map(_to_packable, tensors))
        self._tree = tf.nest.map_structure(lambda _: 0, tree)
        fixed = [
            index
            for index, leaf in enumerate(leaves)
            if leaf.dtype in _WHOLE and leaf.shape.is_fully_defined()
        ]
        fixed.sort(
            key=lambda index: (
                leaves[index].dtype.as_datatype_enum,
                leaves[index].shape.rank > 0,
            )
        )
        places, size = {}, 0
        for index in fixed:
            start, size = (
                size,
                size
                + leaves[index].shape.num_elements()
                * _WHOLE[leaves[index].dtype],
            )
            places[index] = (start, size)
        variable_sized = [
            index for index in range(len(leaves)) if index not in places
        ]
        places |= {
            index: (None, number) for number, index in enumerate(variable_sized)
        }
        shapes = [
            None if leaf.shape.rank is None else tuple(leaf.shape)
            for leaf in leaves
        ]
        self._places = [
            _Place(tensor.dtype, leaf.dtype, shape, *places[index])
            for index, (tensor, leaf, shape) in enumerate(
                zip(tensors, leaves, shapes, strict=True)
            )
        ]
        self.numbers, self.texts = size, len(variable_sized)
        texts = [
            tf.io.serialize_tensor(leaves[index]) for index in variable_sized
        ]
        return _pack_bits([leaves[index] for index in fixed]), tf.stack(
            texts
        ) if texts else tf.constant([], tf.string)

    def unpacked(
        self, numbers: np.ndarray, texts: np.ndarray | None = None
    ) -> Tree:
        """Return the tree, each leaf with the leading axis of the packed arrays.

        A leaf of no fixed shape is an array of arrays.

        Args:
            numbers: [rows, numbers] int32.
            texts: [rows, texts], if there are leaves of variable size, which become arrays of arrays.
        """
        leaves = []
        for dtype, packed_dtype, shape, start, stop in self._places:
            if start is None:
                leaf = np.empty(len(numbers), object)
                for row, text in enumerate(texts[:, stop]):
                    leaf[row] = tf.io.parse_tensor(text, packed_dtype).numpy()
                    leaf[row] = (
                        leaf[row]
                        if dtype == packed_dtype
                        else leaf[row].astype(dtype.as_numpy_dtype)
                    )
            else:
                bits = np.ascontiguousarray(numbers[:, start:stop])
                leaf = bits.view(packed_dtype.as_numpy_dtype).reshape(
                    len(numbers), *shape
                )
                leaf = (
                    leaf
                    if dtype == packed_dtype
                    else leaf.astype(dtype.as_numpy_dtype)
                )
            leaves.append(leaf)
        return tf.nest.pack_sequence_as(self._tree, leaves)

    def each(
        self, numbers: np.ndarray, texts: np.ndarray | None = None
    ) -> list[Tree]:
        """Return the trees of all rows, one by one.

        Args:
            numbers: [rows, numbers] int32.
            texts: [rows, texts], if there are leaves of variable size.
        """
        trees = self.unpacked(numbers, texts)
        leaves = tf.nest.flatten(trees)
        return [
            tf.nest.pack_sequence_as(trees, [leaf[row] for leaf in leaves])
            for row in range(len(numbers))
        ]


def _to_packable(leaf: Tensor) -> Tensor:
    if leaf.dtype in (tf.float16, tf.bfloat16):
        return tf.cast(leaf, tf.float32)
    return (
        tf.cast(leaf, tf.int32)
        if leaf.dtype in (tf.bool, tf.int8, tf.uint8, tf.int16, tf.uint16)
        else leaf
    )


def _pack_bits(leaves: list[Tensor]) -> Tensor:
    """The bits of all, which stand in the order of their types, and scalars before others of their type."""
    bits = []
    for _, alike in itertools.groupby(leaves, key=lambda leaf: leaf.dtype):
        alike = list(alike)
        scalars = [leaf for leaf in alike if leaf.shape.rank == 0]
        vectors = [
            tf.reshape(leaf, [-1]) if leaf.shape.rank > 1 else leaf
            for leaf in alike[len(scalars) :]
        ]
        values = _concat_vectors(
            [*([tf.stack(scalars)] if scalars else []), *vectors]
        )
        pairs = tf.bitcast(values, tf.int32)
        bits.append(pairs if pairs.shape.rank == 1 else tf.reshape(pairs, [-1]))
    return _concat_vectors(bits) if bits else tf.zeros([0], tf.int32)


def _concat_vectors(vectors: list[Tensor]) -> Tensor:
    return vectors[0] if len(vectors) == 1 else tf.concat(vectors, 0)
