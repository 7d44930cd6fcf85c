import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step
from tftrain.core.types import Batch
from tftrain.core.update import ParamEMA
from tftrain.optim.gradients.accumulation import accumulated
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain


def objective(reduction="sum_over_batch_size", seed=0):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = {
        "word": keras.Input((3,), dtype="int64", name="word"),
        "size": keras.Input((2,), name="size"),
    }
    words = layers.GlobalAveragePooling1D()(
        layers.Embedding(7, 4)(inputs["word"])
    )
    found = layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l2")(
        layers.Concatenate()([words, inputs["size"]])
    )
    return KerasObjective(
        keras.Model(inputs, found),
        keras.losses.MeanSquaredError(reduction=reduction),
    )


def batch(examples, weighted=True, seed=0):
    random = np.random.default_rng(seed)
    x = {
        "word": random.integers(0, 4, (examples, 3)),
        "size": random.normal(size=(examples, 2)).astype("float32"),
    }
    y = random.normal(size=(examples, 2)).astype("float32")
    weight = (
        tf.constant(random.uniform(0, 2, examples).astype("float32"))
        if weighted
        else None
    )
    return Batch(
        {name: tf.constant(value) for name, value in x.items()},
        tf.constant(y),
        weight,
    )


@pytest.mark.parametrize("pieces", [2, 3, 8])
@pytest.mark.parametrize("examples", [1, 7, 12])
@pytest.mark.parametrize(
    "reduction, weighted",
    [
        ("sum_over_batch_size", False),
        ("sum_over_batch_size", True),
        ("mean_with_sample_weight", True),
    ],
)
def test_equal_to_the_whole(pieces, examples, reduction, weighted):
    of, given = objective(reduction), batch(examples, weighted)
    whole = backprop()(of, given, ())
    found = tf.function(
        lambda: accumulated(backprop(), pieces)(of, given, ())
    )()
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-6)
    np.testing.assert_allclose(found.outputs, whole.outputs, rtol=1e-6)
    assert isinstance(
        found.grads[0], tf.IndexedSlices
    )  # that of the embedding, with each row once
    assert len(np.unique(found.grads[0].indices)) == len(found.grads[0].indices)
    for mine, theirs in zip(found.grads, whole.grads, strict=True):
        # Float32 sums over the examples in another order.
        np.testing.assert_allclose(
            tf.convert_to_tensor(mine),
            tf.convert_to_tensor(theirs),
            rtol=1e-5,
            atol=1e-7,
        )


def test_pieces_that_weigh_nothing_count_nothing():
    of, given = objective("mean_with_sample_weight"), batch(4)
    given = given._replace(weight=tf.constant([0.0, 0.0, 1.0, 3.0]))
    whole, found = (
        backprop()(of, given, ()),
        accumulated(backprop(), 2)(of, given, ()),
    )
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-6)
    np.testing.assert_allclose(
        found.grads[1], whole.grads[1], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean_with_sample_weight"]
)
def test_penalties_stay_where_no_example_counts(reduction):
    of, given = objective(reduction), batch(4)._replace(weight=tf.zeros([4]))
    whole, found = (
        backprop()(of, given, ()),
        accumulated(backprop(), 2)(of, given, ()),
    )
    assert whole.loss > 0
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-6)
    np.testing.assert_allclose(
        found.grads[1], whole.grads[1], rtol=1e-5, atol=1e-7
    )


def test_one_step_is_one_update():
    """The average of the weights moves once: with decay 0.5 from 3 half way to where one step of SGD leads."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.array([[3.0]])])
    of = KerasObjective(model, keras.losses.MeanSquaredError())
    averages, transform, rate = (
        ParamEMA(of.params, 0.5),
        chain([]),
        constant(0.25),
    )
    state = TrainState(
        model, keras.optimizers.SGD(), transform, rate, averages=averages
    )
    step_spec = StepSpec(of, accumulated(backprop(), 4), transform, rate)
    step = tf.function(make_step(state, step_spec))
    seen = []
    for y in (1.0, np.nan, 1.0):  # the second step is skipped
        step(Batch(tf.ones([4, 1]), tf.fill([4, 1], y)))
        seen.append(
            (model.get_weights()[0].item(), float(averages.variables[0][0, 0]))
        )
    # The gradient is 2 (w - 1), so w goes 3, 2, 1.5 and its average 3, 2.5, 2.
    assert seen == [(2.0, 2.5), (2.0, 2.5), (1.5, 2.0)]
    assert int(state.optimizer.iterations) == 2 and int(state.step) == 3
