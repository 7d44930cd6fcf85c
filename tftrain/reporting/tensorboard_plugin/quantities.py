"""The quantities of the Gradients tab, of the parameters of a layer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tftrain.reporting.tensorboard.protocol import NONE, OF_LAYERS, TENSORS

Combine = Callable[..., np.ndarray]


class Quantity(NamedTuple):
    """What is read of an event file for it, columns of one tensor, and how these come to one row.

    `combine` takes an array [parameters, points] for each of `inputs`, then the sizes of the parameters,
    [parameters, 1]; it gives [points].
    """

    tensor: str
    inputs: tuple[str, ...]
    combine: Combine


def read_columns(quantity: Quantity, tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The inputs of a quantity, [parameters, points] each, from its tensor at each point, [parameters, columns].

    A column that a run does not have, for it is older, is NONE.
    """
    columns = [TENSORS[quantity.tensor].index(name) for name in quantity.inputs]
    return [
        np.stack([_column(table, column) for table in tables], axis=1)
        for column in columns
    ]


def _column(table: np.ndarray, column: int) -> np.ndarray:
    if column < table.shape[1]:
        return table[:, column].astype(np.float64)
    return np.full(len(table), NONE)


def combine_norms(norms: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The norm of all parameters together."""
    known = norms != NONE
    total = np.sqrt(np.sum(np.where(known, norms, 0.0) ** 2, axis=0))
    return np.where(known.any(axis=0), total, NONE)


def combine_ratios(
    ratios: np.ndarray, weights: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """The norm of the updates of all parameters over that of their weights; those that are all 0 have no ratio."""
    known = (ratios != NONE) & (weights != NONE)
    updates = np.where(known, ratios * weights, NONE)
    before = np.where(known, weights, NONE)
    ratio = combine_norms(updates, sizes) / combine_norms(before, sizes)
    return np.where(known.any(axis=0), ratio, NONE)


def combine_factors(
    raw: np.ndarray, clipped: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """The norm after clipping over that before it; 1 where there is no gradient to clip."""
    before, after = combine_norms(raw, sizes), combine_norms(clipped, sizes)
    known = (before != NONE) & (after != NONE)
    factor = np.where((before == 0) & (after == 0), 1.0, after / before)
    return np.where(known, factor, NONE)


def combine_shares(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The share of all numbers of the parameters together."""
    known = shares != NONE
    counted = np.where(known, sizes, 0.0).sum(axis=0)
    total = (np.where(known, shares, 0.0) * sizes).sum(axis=0)
    return np.where(counted > 0, total / counted, NONE)


def take_first(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The share that all parameters of a layer have in common."""
    return shares[0]


NORMS, MEASURED = TENSORS
QUANTITIES = {
    "update_ratio": Quantity(MEASURED, ("update_ratio", "weight_norm"), combine_ratios),
    "grad_norm": Quantity(NORMS, ("grad_norm",), combine_norms),
    "clipped_grad_norm": Quantity(NORMS, ("clipped_grad_norm",), combine_norms),
    "clip_factor": Quantity(NORMS, ("grad_norm", "clipped_grad_norm"), combine_factors),
    "weight_norm": Quantity(MEASURED, ("weight_norm",), combine_norms),
    "zero_grads": Quantity(MEASURED, ("zero_grads",), combine_shares),
} | {name: Quantity(MEASURED, (name,), take_first) for name in OF_LAYERS}
