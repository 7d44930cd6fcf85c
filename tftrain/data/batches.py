"""The arrays that a batch is made of, and the examples of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch


class Split(NamedTuple):
    """Some of the data.

    Args:
        data: a Batch of arrays, RandomAccessRecords, or a tf.data.Dataset of examples.
        examples: how many there are.
    """

    data: Any
    examples: int


def map_leaves(change: Callable[[Any], Any], batch: Batch) -> Batch:
    """Return the batch with every array in it changed.

    Args:
        change: what is called with each array.
        batch: its parts may be None, an array, or arrays by name.
    """
    parts = [
        None if part is None else tf.nest.map_structure(change, part)
        for part in batch
    ]
    return Batch(*parts)


def take(batch: Batch, rows: np.ndarray | slice) -> Batch:
    """Return some examples of a batch of arrays.

    Args:
        batch: every leaf has the axis [examples] first.
        rows: which.
    """
    return map_leaves(lambda leaf: leaf[rows], batch)


def named_leaves(batch: Batch) -> dict[str, Any]:
    """Return the arrays of a batch by the names that messages use: x or x['name'], y, weight, starts."""
    leaves = {"x": batch.x}
    if isinstance(batch.x, Mapping):
        leaves = {f"x['{name}']": leaf for name, leaf in batch.x.items()}
    leaves["y"] = batch.y
    if batch.weight is not None:
        leaves["weight"] = batch.weight
    if batch.starts is not None:
        leaves["starts"] = batch.starts
    return leaves
