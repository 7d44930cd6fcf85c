"""Sets aside validation and test examples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch
from tftrain.data.addressed import Addressed
from tftrain.data.batches import map_leaves
from tftrain.data.errors import DataError


class Split(NamedTuple):
    """Some of the data, and how many examples it has."""

    data: Batch | Addressed | tf.data.Dataset
    examples: int


def split(splits: dict[str, Split], validation: float, test: float, seed: int) -> dict[str, Split]:
    """Take shares of the training examples for validation and test; a share of 0 takes nothing.

    Both shares are of all the examples that are divided. Arrays: the test examples are those of scikit-learn's
    `train_test_split(x, y, test_size=test, random_state=seed)`, then the validation examples are drawn from the
    rest in the same way. Anything else is cut in its own order: training, validation, test.
    """
    shares = {name: share for name, share in (("test", test), ("validation", validation)) if share}
    for name, share in shares.items():
        if name in splits:
            raise DataError(f"{name}: {share:g} of the examples is asked for, but the data has its own {name} split")
    if not shares:
        return splits
    whole = splits["train"]
    counts = {name: math.ceil(share * whole.examples) for name, share in shares.items()}
    if whole.examples - sum(counts.values()) < 1:
        said = " and ".join(f"{shares[name]:g} for {name}" for name in shares)
        raise DataError(f"{said} of {whole.examples} examples leaves none for training")
    cut = _cut_arrays if isinstance(whole.data, Batch) else _cut_stream
    found = {**splits, **cut(whole, counts, seed)}
    return {name: found[name] for name in ("train", "validation", "test") if name in found}


def take(batch: Batch, rows: np.ndarray | slice) -> Batch:
    """The given rows of arrays."""
    return map_leaves(lambda leaf: leaf[rows], batch)


def _cut_arrays(whole: Split, counts: dict[str, int], seed: int) -> dict[str, Split]:
    rest, parts = np.arange(whole.examples), {}
    for name, count in counts.items():
        # The legacy generator, whose stream NumPy has frozen, is the one that scikit-learn draws from.
        drawn = rest[np.random.RandomState(seed).permutation(len(rest))]
        parts[name], rest = drawn[:count], drawn[count:]
    return {name: Split(take(whole.data, rows), len(rows)) for name, rows in {"train": rest, **parts}.items()}


def _cut_stream(whole: Split, counts: dict[str, int], seed: int) -> dict[str, Split]:
    sizes = {"train": whole.examples - sum(counts.values())}
    sizes |= {name: counts[name] for name in ("validation", "test") if name in counts}
    parts, start = {}, 0
    for name, size in sizes.items():
        parts[name] = Split(_range(whole.data, start, size), size)
        start += size
    return parts


def _range(data: Addressed | tf.data.Dataset, start: int, size: int) -> Addressed | tf.data.Dataset:
    return data.cut(start, start + size) if isinstance(data, Addressed) else data.skip(start).take(size)
