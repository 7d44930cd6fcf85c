"""The sizes of the weights, and of what a step adds to them."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.norms import norms
from tftrain.core.types import Moment, Probe, Signals


def weight_norms() -> Probe:
    """Of each parameter `weight_norm/<name>`, the L2 norm before the update, and `update_ratio/<name>`.

    The ratio is the norm of the update over that of the weights; around 1e-3 is usual for a network that learns well.
    Weights that are all 0, as new biases are, have none.
    """

    def measure(moment: Moment) -> dict:
        weights, updates = tf.unstack(norms(moment.params)), tf.unstack(norms(moment.updates))
        return {name: found for name, *found in zip(moment.names, weights, updates, strict=True)}

    def read(measured: dict) -> Signals:
        sizes = {f"weight_norm/{name}": float(weight) for name, (weight, _) in measured.items()}
        ratios = {name: float(update) / float(weight) for name, (weight, update) in measured.items() if weight}
        return Signals(sizes | {f"update_ratio/{name}": ratio for name, ratio in ratios.items()})

    return Probe(measure, read)
