from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.optim.gradients.accumulation import accumulated
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.gradients.finite_difference import numeric


def wave():
    """The mean of (sin(2 w) - 0)^2 at w = 0.3, as an objective of one weight."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, activation=tf.sin, use_bias=False),
        ]
    )
    model.set_weights([np.array([[0.3]])])
    ones = tf.ones([1, 1], model.variables[0].dtype)
    return KerasObjective(model, keras.losses.MeanSquaredError()), Batch(
        2 * ones, 0 * ones
    )


@pytest.mark.parametrize("sided, order", [("central", 2), ("forward", 1)])
def test_the_order_of_the_error(float64, sided, order):
    """Half the step leaves half the error of one-sided differences and a quarter of that of central ones."""
    exact = 2 * np.sin(1.2)  # d/dw sin(2 w)^2 = 2 sin(4 w)
    errors = []
    for step in (0.002, 0.001, 0.0005):
        (grad,) = numeric(sided, step)(*wave(), ()).grads
        errors.append(abs(grad.numpy().item() - exact))
    np.testing.assert_allclose(
        np.log2(np.divide(errors[:-1], errors[1:])), order, atol=0.02
    )


@pytest.mark.parametrize("sided", ["central", "forward"])
@pytest.mark.parametrize("size", [1e5, 1e7])
def test_a_large_weight_is_moved_by_as_much_more(sided, size):
    """Of w^2 the gradient is 2 w, whatever w is; a step that does not grow with it is lost in rounding."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.array([[size]])])
    batch = Batch(tf.ones([1, 1]), tf.zeros([1, 1]))
    (grad,) = numeric(sided)(
        KerasObjective(model, keras.losses.MeanSquaredError()), batch, ()
    ).grads
    np.testing.assert_allclose(
        grad.numpy().item(), 2 * size, rtol=5e-4
    )  # float32; one-sided also half a step, 2^-13


def test_a_step_that_rounds_away_is_refused():
    with pytest.raises(
        ValueError,
        match=r"step: given 1e-09, which changes no float32 of 1; expected at least 1.2e-07",
    ):
        numeric(step=1e-9)


def test_float32_is_near():
    """Rounding of the loss, 3e-8, over the step of 2^-8."""
    (grad,) = numeric()(*wave(), ()).grads
    assert grad.dtype == tf.float32
    np.testing.assert_allclose(grad.numpy().item(), 2 * np.sin(1.2), rtol=1e-4)


@pytest.mark.parametrize(
    "sided, sides, passes", [("central", 2, "36,482"), ("forward", 1, "18,241")]
)
def test_the_cost_is_told_once(capsys, sided, sides, passes):
    model = keras.Sequential(
        [keras.Input((17,)), keras.layers.Dense(960), keras.layers.Dense(1)]
    )
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    batch, method = Batch(tf.zeros([1, 17]), tf.zeros([1, 1])), numeric(sided)
    for _ in range(2):
        tf.function(
            lambda: method(objective, batch, ()), autograph=False
        ).get_concrete_function()
    said = f"numeric: {sides} x 18,241 parameters = {passes} forward passes of the batch for each step\n"
    assert capsys.readouterr().out == said


def test_in_pieces(float64):
    objective, _ = wave()
    random = np.random.default_rng(0)
    batch = Batch(
        tf.constant(random.normal(size=(5, 1))),
        tf.constant(random.normal(size=(5, 1))),
    )
    found = tf.function(
        lambda: accumulated(numeric(), 2)(objective, batch, ()), autograph=False
    )()
    np.testing.assert_allclose(
        found.grads[0], backprop()(objective, batch, ()).grads[0], rtol=1e-6
    )  # float32 shares
