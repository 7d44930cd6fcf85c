"""The sizes of the weights, of what a step adds to them, and the weights themselves."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.elements import element_name
from tftrain.core.norms import norms
from tftrain.core.types import Moment, Probe, Signals, Tensor
from tftrain.values import PositiveInt


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


def weights(most: PositiveInt = 10) -> Probe:
    """Single numbers of each parameter, before the update: `weight/000.hidden/kernel.0.2` for row 0 and column 2.

    Of a parameter with more than `most` numbers those that are spread evenly over it.
    """
    names: list[str] = []

    def measure(moment: Moment) -> Tensor:
        places = [_spread(param.shape.num_elements(), most) for param in moment.params]
        names[:] = [
            f"weight/{element_name(name, param.shape.as_list(), place)}"
            for name, param, chosen in zip(moment.names, moment.params, places, strict=True)
            for place in chosen
        ]
        found = [tf.gather(tf.reshape(one, [-1]), chosen) for one, chosen in zip(moment.params, places, strict=True)]
        return tf.concat([tf.cast(one, tf.float32) for one in found], 0)

    return Probe(measure, lambda found: Signals(dict(zip(names, found.tolist(), strict=True))))


def _spread(size: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int)).tolist()
