"""A process that finds the gradient of one network after the other by each method, and tells the seconds it took."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from benchmark_gradient import finish, mean_seconds

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.gradients.finite_difference import numeric
from tftrain.optim.gradients.forward_mode import forward

WIDTHS = (
    3,
    12,
    35,
    75,
    155,
)  # of two hidden layers between 10 inputs and an output
EXAMPLES = 32


def programs(width: int) -> tuple[int, dict[str, Callable]]:
    """How many parameters the network has, and a function for each method that gives the gradient."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input((10,)),
            dense(width, "tanh"),
            dense(width, "tanh"),
            dense(1),
        ]
    )
    objective, random = (
        KerasObjective(model, keras.losses.MeanSquaredError()),
        np.random.default_rng(0),
    )
    batch = Batch(
        *(
            tf.constant(random.normal(size=(EXAMPLES, size)), tf.float32)
            for size in (10, 1)
        )
    )

    def program(method: Callable) -> Callable:
        return tf.function(
            lambda: method(objective, batch, ()).grads, autograph=False
        )

    known = {"backprop": backprop(), "forward": forward(), "numeric": numeric()}
    return model.count_params(), {
        name: program(method) for name, method in known.items()
    }


def times(repeats: int) -> dict[int, dict[str, list[float]]]:
    """Seconds of each method by the number of parameters, round by round, after one round that does not count."""
    taken: dict[int, dict[str, list[float]]] = {}
    for width in WIDTHS:
        parameters, known = programs(width)
        found = taken.setdefault(parameters, {name: [] for name in known})
        for turn in range(1 + repeats):
            for name, gradient in known.items():
                seconds = mean_seconds(
                    lambda gradient=gradient: finish(gradient())
                )
                if turn:
                    found[name].append(seconds)
    return taken


if __name__ == "__main__":
    print(json.dumps(times(int(sys.argv[1]))))
