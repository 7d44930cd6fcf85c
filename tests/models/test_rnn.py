"""Recurrent networks through the whole product: a target at the end, numbers at each step, labels at each step."""

import numpy as np
import pytest

import tftrain
from tftrain.data.datasets import sequences


@pytest.fixture
def run(tmp_path):
    def run(data, *lines):
        text = "\n".join(
            [
                "optimizer: {name: adam, learning_rate: 2e-2}",
                f"data: {data}",
                *lines,
            ]
        )
        (tmp_path / "config.yaml").write_text(text)
        return tftrain.train(
            tftrain.load(tmp_path / "config.yaml"), tmp_path / "run"
        )

    return run


@pytest.mark.parametrize("targets", ["last", "each"])
def test_numbers(run, targets):
    data = f"{{name: series, examples: 100, length: 20, targets: {targets}, batch_size: 25}}"
    result = run(
        data,
        "model: {name: rnn, units: [8]}",
        "metrics: [mean_absolute_error]",
        "training: {epochs: 2}",
    )
    x, y = sequences.series(examples=100, length=20, targets=targets, seed=0)
    assert result.model.output_shape == (None, *y.shape[1:])
    errors = result.model(x) - y
    assert result.history["loss"].values[-1] < result.history["loss"].values[0]
    # The metric is a mean over the last epoch, in which the model still learns a little.
    assert result.results["train"]["mean_absolute_error"] == pytest.approx(
        np.abs(errors).mean(), rel=0.25
    )


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_labels_at_each_step(run, cell):
    data = "{name: copy, examples: 200, gap: 3, symbols: 2, symbols_to_copy: 1, batch_size: 20}"
    model = f"model: {{name: rnn, cell: {cell}, units: [12]}}"
    result = run(
        data,
        model,
        "loss: sparse_categorical_crossentropy",
        "training: {epochs: 10}",
    )
    x, y = sequences.copy(
        examples=200, gap=3, symbols=2, symbols_to_copy=1, seed=0
    )
    found = np.argmax(result.model(x), axis=-1)
    assert (
        found.shape == (200, 5) and np.mean(found == y) > 0.98
    )  # 0.9 for who remembers nothing
    assert result.results["train"]["accuracy"] > 0.95
