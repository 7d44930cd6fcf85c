"""The sizes of the weights, and of what a step adds to them."""

from __future__ import annotations

import numpy as np

from tftrain.core.norms import norms
from tftrain.core.types import Moment, Probe, Signals


def weight_norms() -> Probe:
    """Of each parameter `weight_norm/<name>`, the L2 norm before the update, and `update_ratio/<name>`.

    The ratio is the norm of the update over that of the weights; around 1e-3 is usual for a network that learns well.
    Weights that are all 0, as new biases are, have none.
    """
    names: list[str] = []

    def measure(moment: Moment) -> dict:
        names[:] = moment.names
        return {"norms": norms([*moment.params, *moment.updates])}  # one vector, [2 * parameters]

    def read(found: dict) -> Signals:
        weights, updates = np.split(found["norms"].astype(np.float64), 2)
        sizes = {f"weight_norm/{name}": size for name, size in zip(names, weights.tolist(), strict=True)}
        ratios = {names[place]: float(updates[place] / weights[place]) for place in np.flatnonzero(weights)}
        return Signals(sizes | {f"update_ratio/{name}": ratio for name, ratio in ratios.items()})

    return Probe(measure, read)
