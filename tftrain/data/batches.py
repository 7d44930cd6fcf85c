"""The arrays that a batch is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tftrain.core.types import Batch


def map_leaves(change: Callable[[Any], Any], batch: Batch) -> Batch:
    """The batch with every array in it changed."""
    return Batch(
        *(
            None if part is None else tf.nest.map_structure(change, part)
            for part in batch
        )
    )


def named_leaves(batch: Batch) -> dict[str, Any]:
    """The parts of a batch by the names that messages use: x or x['name'], y, weight, starts."""
    x = (
        {f"x['{name}']": leaf for name, leaf in batch.x.items()}
        if isinstance(batch.x, Mapping)
        else {"x": batch.x}
    )
    return {**x, "y": batch.y} | {
        name: part
        for name in ("weight", "starts")
        if (part := getattr(batch, name)) is not None
    }
