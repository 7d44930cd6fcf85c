import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch


def line(**options):
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, **options)]
    )
    model.set_weights([np.array([[3.0]]), np.array([1.0])])
    return model


def test_loss_weights_and_carry():
    objective = KerasObjective(line(), keras.losses.MeanSquaredError())
    batch = Batch(tf.constant([[2.0], [0.0]]), tf.constant([[5.0], [0.0]]))
    loss, outputs, carry = objective(batch, carry={"h": 1})
    assert loss == 2.5  # ((7 - 5)^2 + (1 - 0)^2) / 2
    np.testing.assert_array_equal(outputs, [[7], [1]])
    assert carry == {"h": 1}
    assert objective(batch._replace(weight=tf.constant([0.0, 1.0])))[0] == 0.5


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean_with_sample_weight"]
)
def test_a_weight_is_of_its_example_at_each_time_step(reduction):
    """Also where there are as many time steps as examples, and Keras would take it for those."""
    model = keras.Sequential([keras.Input((3, 1)), keras.layers.Dense(1)])
    model.set_weights([np.array([[1.0]]), np.array([0.0])])
    x = np.arange(9.0).reshape(3, 3, 1)
    weight = np.array([1.0, 0.0, 3.0])
    objective = KerasObjective(
        model, keras.losses.MeanSquaredError(reduction=reduction), loss_rank=2
    )
    batch = Batch(
        *(tf.constant(one, tf.float32) for one in (x, np.zeros_like(x), weight))
    )
    total = (weight[:, None] * x[:, :, 0] ** 2).sum()
    whole = 9 if reduction == "sum_over_batch_size" else 3 * weight.sum()
    np.testing.assert_allclose(objective(batch)[0], total / whole, rtol=1e-6)
    on_the_host = Batch(
        x.astype("float32"), np.zeros_like(x), weight
    )  # as a sample is
    np.testing.assert_array_equal(
        objective.weights(on_the_host, model(on_the_host.x)),
        objective.weights(batch, model(batch.x)),
    )
    np.testing.assert_allclose(
        objective.masses(batch), [1, 1, 1] if whole == 9 else weight
    )
    metric = keras.metrics.MeanSquaredError()
    outputs = model(batch.x)
    keras.src.backend.set_keras_mask(
        outputs, tf.ones([3, 3], tf.bool)
    )  # with a mask Keras wants a weight of each step
    metric.update_state(
        batch.y, outputs, sample_weight=objective.weights(batch, outputs)
    )
    np.testing.assert_allclose(
        metric.result(), total / (3 * weight.sum()), rtol=1e-6
    )


def test_the_reduction_of_the_loss_is_kept():
    objective = KerasObjective(
        line(), keras.losses.MeanSquaredError(reduction="sum")
    )
    assert (
        objective(
            Batch(tf.constant([[2.0], [0.0]]), tf.constant([[5.0], [0.0]]))
        )[0]
        == 5
    )


def test_a_loss_for_each_example_is_refused():
    objective = KerasObjective(
        line(), keras.losses.MeanSquaredError(reduction="none")
    )
    with pytest.raises(
        ValueError, match=r"the loss must be one number.*shape \(2,\)"
    ):
        objective(
            Batch(tf.constant([[2.0], [0.0]]), tf.constant([[5.0], [0.0]]))
        )


def test_regularisers_count_once_however_often_the_model_is_called():
    objective = KerasObjective(
        line(kernel_regularizer=keras.regularizers.L2(0.1)),
        keras.losses.MeanSquaredError(),
    )
    batch = Batch(tf.constant([[2.0]]), tf.constant([[7.0]]))
    for _ in range(2):
        np.testing.assert_allclose(
            objective(batch)[0], 0.9, rtol=1e-6
        )  # 0.1 * 3^2, in float32


def test_training_decides_about_dropout():
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dropout(0.5)])
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    batch = Batch(tf.ones([1, 100]), tf.ones([1, 100]))
    assert objective(batch, training=False)[0] == 0
    assert objective(batch)[0] > 0


def test_metrics_see_probabilities():
    plain = KerasObjective(line(), keras.losses.MeanSquaredError())
    assert plain.probabilities(2.0) == 2.0
    squashed = KerasObjective(
        line(), keras.losses.BinaryCrossentropy(from_logits=True), tf.sigmoid
    )
    assert squashed.probabilities(tf.constant(0.0)) == 0.5


def test_params_are_the_trainable_variables():
    model = line()
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    assert [tuple(param.shape) for param in objective.params] == [(1, 1), (1,)]
    assert all(isinstance(param, tf.Variable) for param in objective.params)
