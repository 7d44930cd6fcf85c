"""Layers that are given layers or cells, from YAML: the same model as in plain Keras, and one that loads again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tftrain
from tftrain.trainer.build import build_run

HEAD = """
data: {name: iris, batch_size: full}
optimizer: sgd
training: {steps: 1}
model:
  name: sequential
  layers:
    - {name: reshape, target_shape: [4, 1]}
"""
LAYERS = keras.layers
CASES = {
    "{name: bidirectional, layer: {name: gru, units: 2}, merge_mode: sum}": lambda: (
        LAYERS.Bidirectional(LAYERS.GRU(2), merge_mode="sum")
    ),
    "{name: bidirectional, layer: {name: lstm, units: 2}, backward_layer: {name: gru, units: 2, go_backwards: true}}": (
        lambda: LAYERS.Bidirectional(
            LAYERS.LSTM(2), backward_layer=LAYERS.GRU(2, go_backwards=True)
        )
    ),
    "{name: rnn, cell: {name: lstm_cell, units: 2}}": lambda: LAYERS.RNN(
        LAYERS.LSTMCell(2)
    ),
    "{name: rnn, cell: [{name: gru_cell, units: 2}, {name: simple_rnn_cell, units: 3}]}": lambda: (
        LAYERS.RNN([LAYERS.GRUCell(2), LAYERS.SimpleRNNCell(3)])
    ),
    "{name: rnn, cell: {name: stacked_rnn_cells, cells: [{name: gru_cell, units: 2}]}, return_sequences: true}": (
        lambda: LAYERS.RNN(
            LAYERS.StackedRNNCells([LAYERS.GRUCell(2)]), return_sequences=True
        )
    ),
    "{name: time_distributed, layer: {name: dense, units: 2, activation: relu}}": lambda: (
        LAYERS.TimeDistributed(LAYERS.Dense(2, "relu"))
    ),
    "{name: time_distributed, layer: flatten}": lambda: LAYERS.TimeDistributed(
        LAYERS.Flatten()
    ),
    "{name: spectral_normalization, layer: {name: dense, units: 2}}": lambda: (
        LAYERS.SpectralNormalization(LAYERS.Dense(2))
    ),
}


@pytest.mark.parametrize("text", CASES)
def test_a_layer_around_another(desk, text):
    model = build_run(
        desk.load(
            f"{HEAD}    - {text}\n    - flatten\n    - {{name: dense, units: 3}}\n"
        )
    ).state.model
    ends = [LAYERS.Flatten(), LAYERS.Dense(3)]
    twin = keras.Sequential(
        [keras.Input((4,)), LAYERS.Reshape((4, 1)), CASES[text](), *ends]
    )
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(model(x), twin(x), rtol=1e-6)


def test_a_layer_around_another_is_trained_and_loaded(desk, tmp_path):
    layers = "".join(f"    - {text}\n" for text in [*CASES][4:6])
    config = desk.load(
        f"{HEAD}{layers}    - flatten\n    - {{name: dense, units: 3}}\n"
    )
    model = tftrain.train(config, tmp_path / "run").model
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(
        tftrain.load_model(tmp_path / "run")(x), model(x)
    )


def test_what_is_wrong_within_a_layer_is_told_at_its_place(desk):
    text = f"{HEAD}    - {{name: bidirectional, layer: {{name: gru, unit: 2}}}}\n    - {{name: rnn, cell: 3}}\n"
    problems = "\n".join(desk.problems(text))
    assert (
        "9:48: model.layers.1.layer.unit: unknown argument of gru; expected one of units, "
        in problems
    )
    assert "10:25: model.layers.2.cell: given 3; expected a layer" in problems
