"""Sets aside validation and test examples."""

from __future__ import annotations

import contextlib
import math
from typing import Literal

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch
from tftrain.data.batches import Split, take
from tftrain.data.records import RandomAccessRecords
from tftrain.runtime.errors import DataError

How = Literal["auto", "shuffled", "stratified", "tail"]
# Where neighbors on the disk are drawn together, each share has at least this many chunks of them.
LEAST_CHUNKS = 64


def split(
    splits: dict[str, Split],
    validation: float,
    test: float,
    seed: int,
    how: How = "auto",
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> dict[str, Split]:
    """Take shares of the training examples for validation and test; a share of 0 takes nothing.

    Both shares are of all the examples that are divided. The test examples are those of scikit-learn's
    `train_test_split(x, y, test_size=test, random_state=seed)`, then the validation examples are drawn from the rest
    in the same way.

    Args:
        splits: the source's own.
        validation: the share for validation.
        test: the share for the test.
        seed: of the draw.
        how: `shuffled`; `stratified`, with the same share of each class; `auto`, which stratifies where a class would
            be missing in a part; `tail`, the last examples for the test and those before them for validation.
        labels: of the training examples, where they are classes, [examples].
        groups: of the training examples, [examples]; shares are then of the groups, as of scikit-learn's
            `GroupShuffleSplit`, and no group is in two parts.

    Raises:
        DataError: the data has its own split of this name, or cannot be divided so.
    """
    # The test examples are drawn first.
    shares = {"test": test, "validation": validation}
    shares = {name: share for name, share in shares.items() if share}
    for name, share in shares.items():
        if name in splits:
            raise DataError(
                f"{name}: {share:g} of the examples is asked for, but the data has its own {name} split"
            )
    if not shares:
        return splits
    train_split = splits["train"]
    if groups is not None:
        rows = _draw_groups(groups, shares, seed)
    else:
        counts = _counts_of(shares, train_split.examples, "examples")
        rows = _draw_rows(train_split, counts, seed, how, labels)
    parts = dict(splits)
    for name, part_rows in rows.items():
        parts[name] = Split(
            _select_rows(train_split.data, part_rows), len(part_rows)
        )
    order = ("train", "validation", "test")
    return {name: parts[name] for name in order if name in parts}


def _counts_of(
    shares: dict[str, float], total: int, things: str
) -> dict[str, int]:
    counts = {name: math.ceil(share * total) for name, share in shares.items()}
    if total - sum(counts.values()) < 1:
        requested = " and ".join(
            f"{share:g} for {name}" for name, share in shares.items()
        )
        raise DataError(
            f"{requested} of {total} {things} leaves none for training"
        )
    return counts


def _draw_rows(
    train_split: Split,
    counts: dict[str, int],
    seed: int,
    how: How,
    labels: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The numbers of the examples of each part."""
    if how == "tail":
        return _draw_tail(train_split.examples, counts)
    if how == "stratified":
        if labels is None:
            raise DataError(
                "split: stratified needs a class for each example; the targets are none"
            )
        return _draw_stratified(labels, counts, seed)
    chunk = 1
    if isinstance(train_split.data, RandomAccessRecords):
        largest_chunk = min(counts.values()) // LEAST_CHUNKS
        chunk = max(1, min(train_split.data.together, largest_chunk))
    rows = _draw_shuffled(train_split.examples, counts, seed, chunk)
    if how == "auto" and labels is not None and _lacks_class(labels, rows):
        # Classes that are too small to be stratified stay as they were drawn.
        with contextlib.suppress(DataError):
            return _draw_stratified(labels, counts, seed)
    return rows


def _draw_tail(examples: int, counts: dict[str, int]) -> dict[str, np.ndarray]:
    remaining = np.arange(examples)
    parts = {}
    for name in ("test", "validation"):
        if name in counts:
            count = counts[name]
            parts[name] = remaining[-count:]
            remaining = remaining[:-count]
    return {"train": remaining, **parts}


def _draw_shuffled(
    examples: int, counts: dict[str, int], seed: int, chunk: int
) -> dict[str, np.ndarray]:
    """Draw chunks of neighbors, which are read at once from the disk; of arrays a chunk is one example."""
    remaining = np.arange(examples)
    parts = {}
    for name, count in counts.items():
        # The legacy generator, whose stream NumPy has frozen, is the one that scikit-learn draws from.
        rng = np.random.RandomState(seed)
        chunk_order = rng.permutation(math.ceil(len(remaining) / chunk))
        if chunk == 1:
            drawn = remaining[chunk_order]
        else:
            starts = chunk_order * chunk
            drawn = np.concatenate(
                [remaining[start : start + chunk] for start in starts]
            )
        parts[name] = drawn[:count]
        remaining = drawn[count:]
    return {"train": remaining, **parts}


def _draw_stratified(
    labels: np.ndarray, counts: dict[str, int], seed: int
) -> dict[str, np.ndarray]:
    """Draw the same share of each class; one with too few examples to be divided, or divided again, is trained on."""
    # Imported here because it takes a second, which only this needs.
    from sklearn.model_selection import train_test_split

    _, places, sizes = np.unique(
        labels, return_inverse=True, return_counts=True
    )
    remaining = np.arange(len(labels))
    parts = {}
    too_small = sizes[places] <= len(counts)
    for name, count in counts.items():
        remaining = remaining[~too_small[remaining]]
        try:
            remaining, parts[name] = train_test_split(
                remaining,
                test_size=count,
                stratify=labels[remaining],
                random_state=seed,
            )
        except ValueError as error:
            classes = len(np.unique(labels[remaining]))
            message = f"{name}: {count} examples cannot have the same share of each of {classes} classes"
            raise DataError(f"{message} ({error})") from error
        left = np.bincount(places[remaining], minlength=len(sizes))
        too_small[remaining] = left[places[remaining]] < 2
    taken = np.zeros(len(labels), bool)
    taken[np.concatenate([*parts.values(), remaining])] = True
    return {
        "train": np.concatenate([remaining, np.flatnonzero(~taken)]),
        **parts,
    }


def _draw_groups(
    groups: np.ndarray, shares: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    names, places = np.unique(groups, return_inverse=True)
    counts = _counts_of(shares, len(names), "groups")
    drawn = _draw_shuffled(len(names), counts, seed, 1)
    return {
        part: np.flatnonzero(np.isin(places, chosen))
        for part, chosen in drawn.items()
    }


def _lacks_class(labels: np.ndarray, rows: dict[str, np.ndarray]) -> bool:
    """Whether a part lacks a class that stratification would give it."""
    classes, sizes = np.unique(labels, return_counts=True)
    common = classes[sizes > len(rows) - 1]
    smallest = min(len(part) for part in rows.values())
    if smallest < len(classes):
        # The part is too small for one example of each class.
        return False
    return not all(
        np.isin(common, labels[part]).all() for part in rows.values()
    )


def _select_rows(
    data: Batch | RandomAccessRecords | tf.data.Dataset, rows: np.ndarray
) -> Batch | RandomAccessRecords | tf.data.Dataset:
    if isinstance(data, Batch):
        return take(data, rows)
    if isinstance(data, RandomAccessRecords):
        return data.select(np.sort(rows))
    chosen = np.zeros(int(rows.max()) + 1, bool)
    chosen[rows] = True
    if chosen.all():
        return data.take(len(chosen))
    first = int(np.argmax(chosen))
    if chosen[first:].all():
        return data.skip(first).take(len(chosen) - first)

    @tf.autograph.experimental.do_not_convert
    def is_chosen(number: tf.Tensor, example: tuple) -> tf.Tensor:
        return tf.gather(chosen, number)

    @tf.autograph.experimental.do_not_convert
    def drop_number(number: tf.Tensor, example: tuple) -> tuple:
        return example

    numbered = data.take(len(chosen)).enumerate()
    return numbered.filter(is_chosen).map(drop_number)
