"""Layers that a config freezes as a whole, beside `layer.trainable = False` in plain Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tftrain
from tests.user_code import norms

CONFIG = """
model: 'norms:model'
data: {name: 'norms:shifted', batch_size: full, shuffle: false}
optimizer: {name: sgd, learning_rate: 0.01, groups: [{only: FROZEN, frozen: true}]}
training: {steps: 3}
log: {scalars: 1}
"""


@pytest.mark.parametrize(
    ("frozen", "layers"),
    [
        ("norm/", ["norm"]),
        ("norm/gamma", []),
        ("dense", ["block"]),
        ("dense/bias|norm", ["norm"]),
    ],
    ids=[
        "all of a layer",
        "a part of it",
        "all that a block has",
        "a part of a block",
    ],
)
def test_a_frozen_layer_runs_in_inference_mode(desk, tmp_path, frozen, layers):
    result = tftrain.train(
        desk.load(CONFIG.replace("FROZEN", f"'{frozen}'")), tmp_path / "run"
    )
    twin = norms.model()
    for layer in layers:
        twin.get_layer(layer).trainable = False
    if frozen == "norm/gamma":
        twin.get_layer("norm").gamma.trainable = False
    if "dense/bias" in frozen:
        twin.get_layer("block").get_layer("dense").bias.trainable = False
    twin.compile(
        keras.optimizers.SGD(0.01), "mean_squared_error", jit_compile=False
    )
    history = twin.fit(
        *norms.shifted(), batch_size=24, epochs=3, shuffle=False, verbose=0
    ).history["loss"]
    np.testing.assert_allclose(
        result.history["loss"].values, history, rtol=1e-5
    )  # float32, sums in another order
    for own, other in zip(result.model.weights, twin.weights, strict=True):
        np.testing.assert_allclose(
            own, other, rtol=1e-4, atol=1e-5, err_msg=own.path
        )


def test_the_saved_model_can_be_trained_as_it_was_made(desk, tmp_path):
    tftrain.train(
        desk.load(CONFIG.replace("FROZEN", "norm/")), tmp_path / "run"
    )
    loaded = tftrain.load_model(tmp_path / "run")
    assert (
        len(loaded.trainable_variables)
        == len(norms.model().trainable_variables)
        == 6
    )
    assert all(layer.trainable for layer in loaded._flatten_layers())
