"""Examples of an object with `__len__` and `__getitem__`, such as one that reads a file for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor
from tftrain.data.records import Addressed, Piece, spec_of
from tftrain.runtime.errors import DataError

LOOKED_AT = 8  # examples whose shapes are compared


def is_indexed(value: Any) -> bool:
    """Whether a value gives examples by number, and is nothing that Python or NumPy counts as one value."""
    if isinstance(value, (tuple, list, str, bytes, Mapping)) or hasattr(value, "__array__"):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def indexed(name: str, examples: Any) -> Addressed:
    """Examples by number, (x, y) or (x, y, weight) each, read by several threads at a time; raises DataError."""
    if isinstance(examples, keras.utils.PyDataset):
        raise DataError(f"{name}: a keras.utils.PyDataset gives batches; single examples are expected")
    count = len(examples)
    if not count:
        raise DataError(f"{name}: there are no examples")
    looked = [_arrays(name, examples, int(i)) for i in np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int)]
    shapes = [_shape(name, leaves) for leaves in zip(*map(tf.nest.flatten, looked), strict=True)]
    types = [leaf.dtype for leaf in tf.nest.flatten(looked[0])]

    def get(number: np.ndarray) -> list[np.ndarray]:
        leaves = tf.nest.flatten(_arrays(name, examples, int(number)))
        return [np.asarray(leaf, dtype) for leaf, dtype in zip(leaves, types, strict=True)]

    def decode(number: Tensor) -> tuple:
        leaves = tf.numpy_function(get, [number], [tf.as_dtype(dtype) for dtype in types])
        leaves = [tf.ensure_shape(leaf, shape) for leaf, shape in zip(leaves, shapes, strict=True)]
        return tf.nest.pack_sequence_as(looked[0], leaves)

    def read(source: Tensor, first: Tensor, end: Tensor, count: Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(first, end)

    piece = Piece(0, np.arange(count + 1, dtype=np.int64))
    return Addressed((piece,), read, decode, spec_of(decode, tf.TensorSpec([], tf.int64)), together=1)


def _arrays(name: str, examples: Any, number: int) -> tuple:
    example = examples[number]
    if not isinstance(example, tuple) or len(example) not in (2, 3):
        kind = type(example).__name__
        raise DataError(f"{name}: example {number} is a {kind}; a tuple (x, y) or (x, y, weight) is expected")
    return tf.nest.map_structure(np.asarray, example)


def _shape(name: str, leaves: tuple[np.ndarray, ...]) -> list[int | None]:
    """The sizes of an example's part, None where they differ."""
    if len({leaf.ndim for leaf in leaves}) > 1:
        found = sorted((leaf.shape for leaf in leaves), key=len)
        raise DataError(f"{name}: examples have shapes of differing rank, {found[0]} and {found[-1]}")
    return [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*(leaf.shape for leaf in leaves), strict=True)]
