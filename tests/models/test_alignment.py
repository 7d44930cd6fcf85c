"""Targets of the outputs' shape for losses and metrics of one's own, and a word where they broadcast all the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.losses.loss import squeeze_or_expand_to_same_rank

import tftrain
from tftrain.models.alignment import aligned
from tftrain.runtime.errors import InputError

TEXT = """
model: {name: "scored:linear"}
data: {name: "scored:flat", batch_size: 20, shuffle: false}
optimizer: {name: sgd, learning_rate: 0.1}
training: {epochs: 2}
log: {scalars: 1, graph: false}
"""


@pytest.mark.parametrize(
    "shapes",
    [
        ((5,), (5, 1)),
        ((5, 1), (5,)),
        ((5, 1), (5, 1)),
        ((5, 3), (5, 3, 1)),
        ((5, 3, 1), (5, 3)),
        ((5,), (5, 3)),
    ]
    + [
        ((5, 3), (5,)),
        ((5, 1), (5, 3, 1)),
        ((5, 1, 1), (5, 1)),
        ((5, 1), (5, 1, 1)),
        ((5,), (5,)),
        ((5,), (5, 3, 1)),
    ],
)
def test_ranks_are_those_of_keras(shapes):
    given = [tf.reshape(tf.range(np.prod(shape)), shape) for shape in shapes]
    for found, right in zip(
        aligned(*given), squeeze_or_expand_to_same_rank(*given), strict=True
    ):
        np.testing.assert_array_equal(found, right)


def test_an_own_loss_and_metric_are_as_in_fit(desk, tmp_path):
    """`model.fit` gives the loss function targets [n, 1]; a metric function it would let broadcast."""
    scores = 'loss: "scored:squared"\nmetrics: ["scored:deviation"]\n'
    result = tftrain.train(desk.load(TEXT + scores), tmp_path / "run")
    import scored

    model = scored.linear()
    model.compile(keras.optimizers.SGD(0.1), loss=scored.squared)
    x, y = scored.flat()
    model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(result.model.weights, model.weights, strict=True):
        np.testing.assert_allclose(
            one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6
        )  # float32, sums in another order
    first = scored.linear()(x[:20]).numpy()[:, 0]
    np.testing.assert_allclose(
        result.history["deviation"].values[0],
        np.abs(y[:20] - first).mean(),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "scores",
    [
        "loss: 'scored:Squared'",
        "loss: 'scored:MeanSquared'",
        "loss: 'scored:of_a_column'",
    ]
    + ["metrics: ['scored:Deviation']"],
)
def test_what_broadcasts_is_refused(desk, scores):
    from tftrain.trainer.build import build_run

    base = desk.write(TEXT, "base.yaml")
    with pytest.raises(
        InputError,
        match=r"targets of the shape \[20(, 1)?\] and outputs of the shape \[20, 1\]",
    ):
        build_run(desk.load(f"base: {base}\n{scores}\n"))


@pytest.mark.parametrize(
    "loss", ["scored:Reshaping", "scored:ranked", "mean_squared_error"]
)
def test_what_is_meant_so_is_not(desk, loss):
    from tftrain.trainer.build import build_run

    assert build_run(desk.load(f"{TEXT}loss: '{loss}'\n")).objective.loss
