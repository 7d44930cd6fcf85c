"""A run is the same whatever else its process has done before."""

from __future__ import annotations

import keras

from tftrain.assemble import assemble
from tftrain.core.parameters import names_of

TEXT = "model: {name: sequential, layers: [{name: dense, units: 4}, {name: dense, units: 3}]}\ndata: iris\n"


def test_layers_are_named_as_in_a_new_process(desk):
    first = keras.layers.Dense(1).name
    for _ in range(2):
        model = assemble(
            desk.load(f"{TEXT}optimizer: {{name: sgd, groups: [{{only: dense_1/, rate: 2}}]}}\n")
        ).state.model
        assert names_of(model).trained == [
            "000.dense/kernel",
            "000.dense/bias",
            "001.dense_1/kernel",
            "001.dense_1/bias",
        ]
    later = keras.layers.Dense(1).name
    assert later not in (first, "dense", "dense_1")
