import keras
import numpy as np
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.state import TrainState
from tftrain.core.step import Recipe, make_step
from tftrain.core.types import Batch
from tftrain.gradients.truncated import truncated_bptt
from tftrain.rates import constant
from tftrain.transforms.chain import chain


def test_states_go_on_from_step_to_step_but_not_from_one_that_is_not_applied():
    """Windows of three sequences, then two; in the second step there is a NaN, and in the last all start."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.SimpleRNN(2, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 1)), layer, keras.layers.Dense(1)])
    method, carry = truncated_bptt(2, "window", names=(), model=model, rows=3)
    of, transform, rate = KerasObjective(model, keras.losses.MeanSquaredError()), chain([]), constant(0.0)
    state = TrainState(model, keras.optimizers.SGD(), transform, rate, carry=carry)
    step = tf.function(make_step(state, Recipe(of, method, transform, rate)), reduce_retracing=True)
    x = np.random.default_rng(0).normal(size=(3, 8, 1)).astype("float32")
    whole, seen = layer(x).numpy(), []
    for start, rows, fill, begins in ((0, 3, 0, True), (2, 3, np.nan, False), (2, 3, 0, False), (0, 2, 0, True)):
        y = tf.fill([rows, 2, 1], float(fill))
        step(Batch(tf.constant(x[:rows, start : start + 2]), y, None, tf.fill([rows], begins)))
        seen.append(state.carry.states[0][0].numpy())
    np.testing.assert_allclose(seen[0], whole[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_allclose(seen[2], whole[:, 3], rtol=1e-6)
    np.testing.assert_allclose(seen[3], np.concatenate([whole[:2, 1], whole[2:, 3]]), rtol=1e-6)
