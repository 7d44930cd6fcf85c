"""The quantities of the Gradients tab, for the parameters of a row together.

Each `combine_` function takes arrays [parameters, points], in which NONE is a missing
value, and the sizes of the parameters [parameters, 1]; it returns [points].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tftrain.reporting.tensorboard.protocol import NONE, OF_LAYERS, TENSORS

Combine = Callable[..., np.ndarray]


class Quantity(NamedTuple):
    """How a quantity is computed from a tensor in the event files.

    Attributes:
        tensor: tag of the tensor.
        inputs: names of its columns that are read.
        combine: takes an array for each of `inputs`, then the sizes.
    """

    tensor: str
    inputs: tuple[str, ...]
    combine: Combine


def read_columns(
    quantity: Quantity, tables: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the inputs of a quantity, [parameters, points] each.

    Args:
        quantity: the quantity.
        tables: its tensor at each point, [parameters, columns]. A column that a run of
            an older version does not have is NONE.
    """
    inputs = []
    for name in quantity.inputs:
        column = TENSORS[quantity.tensor].index(name)
        values = [_read_column(table, column) for table in tables]
        inputs.append(np.stack(values, axis=1))
    return inputs


def _read_column(table: np.ndarray, column: int) -> np.ndarray:
    if column < table.shape[1]:
        return table[:, column].astype(np.float64)
    return np.full(len(table), NONE)


def combine_norms(norms: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the norm of all parameters together.

    Args:
        norms: of each parameter, [parameters, points].
        sizes: not used.
    """
    is_known = norms != NONE
    squares = np.where(is_known, norms, 0.0) ** 2
    norm = np.sqrt(np.sum(squares, axis=0))
    return np.where(is_known.any(axis=0), norm, NONE)


def combine_ratios(
    ratios: np.ndarray, weights: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Return the norm of all updates over that of all weights.

    Args:
        ratios: update norm over weight norm, [parameters, points]; parameters whose
            weights are all 0 have none.
        weights: norms of the weights, [parameters, points].
        sizes: not used.
    """
    is_known = (ratios != NONE) & (weights != NONE)
    update_norms = np.where(is_known, ratios * weights, NONE)
    weight_norms = np.where(is_known, weights, NONE)
    update_norm = combine_norms(update_norms, sizes)
    weight_norm = combine_norms(weight_norms, sizes)
    return np.where(is_known.any(axis=0), update_norm / weight_norm, NONE)


def combine_factors(
    raw: np.ndarray, clipped: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Return the norm after clipping over that before; 1 where the gradient is 0.

    Args:
        raw: gradient norms before clipping, [parameters, points].
        clipped: gradient norms after clipping, [parameters, points].
        sizes: not used.
    """
    raw_norm = combine_norms(raw, sizes)
    clipped_norm = combine_norms(clipped, sizes)
    is_known = (raw_norm != NONE) & (clipped_norm != NONE)
    is_zero = (raw_norm == 0) & (clipped_norm == 0)
    factor = np.where(is_zero, 1.0, clipped_norm / raw_norm)
    return np.where(is_known, factor, NONE)


def combine_shares(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the share of the values of all parameters together.

    Args:
        shares: of the values of each parameter, [parameters, points].
        sizes: number of values of each parameter, [parameters, 1].
    """
    is_known = shares != NONE
    value_count = np.where(is_known, sizes, 0.0).sum(axis=0)
    counted = (np.where(is_known, shares, 0.0) * sizes).sum(axis=0)
    return np.where(value_count > 0, counted / value_count, NONE)


def take_first(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the share of a layer, which all its parameters have in common.

    Args:
        shares: [parameters, points], equal rows.
        sizes: not used.
    """
    return shares[0]


NORMS, MEASURED = TENSORS
QUANTITIES = {
    "update_ratio": Quantity(
        MEASURED, ("update_ratio", "weight_norm"), combine_ratios
    ),
    "grad_norm": Quantity(NORMS, ("grad_norm",), combine_norms),
    "clipped_grad_norm": Quantity(NORMS, ("clipped_grad_norm",), combine_norms),
    "clip_factor": Quantity(
        NORMS, ("grad_norm", "clipped_grad_norm"), combine_factors
    ),
    "weight_norm": Quantity(MEASURED, ("weight_norm",), combine_norms),
    "zero_grads": Quantity(MEASURED, ("zero_grads",), combine_shares),
} | {name: Quantity(MEASURED, (name,), take_first) for name in OF_LAYERS}
