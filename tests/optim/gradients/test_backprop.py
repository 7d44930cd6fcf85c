import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.optim.gradients.backprop import backprop


class Objective:
    """A loss of some variables, without a model."""

    def __init__(self, params, loss):
        self.params, self.loss = params, loss

    def __call__(self, batch, carry=(), training=True):
        return self.loss(*self.params), (), carry


def test_chain_rule_by_hand():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[3.0]]), np.array([1.0])])
    objective = KerasObjective(
        model, lambda y, outputs, sample_weight: tf.reduce_sum(outputs)
    )
    found = backprop()(objective, Batch(tf.constant([[2.0]]), None), ())
    assert found.loss == 7  # y = W x + b
    assert [grad.numpy().item() for grad in found.grads] == [
        2,
        1,
    ]  # dy/dW = x, dy/db = 1
    assert found.carry == ()


def test_repeated_rows_of_an_embedding_are_summed():
    table = tf.Variable(tf.zeros([4, 2]))
    objective = Objective(
        [table],
        lambda table: tf.reduce_sum(
            tf.gather(table, [1, 1, 3]) * [[1.0], [10.0], [5.0]]
        ),
    )
    (grad,) = backprop()(objective, None, ()).grads
    assert isinstance(grad, tf.IndexedSlices)
    np.testing.assert_array_equal(grad.indices, [1, 3])
    np.testing.assert_array_equal(
        tf.convert_to_tensor(grad), [[0, 0], [11, 11], [0, 0], [5, 5]]
    )


def test_half_precision_parameters_give_float32_gradients():
    weight = tf.Variable(2.0, dtype=tf.float16)
    (grad,) = backprop()(
        Objective([weight], lambda weight: weight * weight), None, ()
    ).grads
    assert grad.dtype == tf.float32 and grad == 4


def test_unreached_parameters_are_zero_and_named_once():
    used, spare, other = (
        tf.Variable([1.0, 2.0], name=name)
        for name in ("used", "spare", "other")
    )
    method = backprop()
    objective = Objective(
        [used, spare, other], lambda used, *_: tf.reduce_sum(used)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            grads = tf.function(lambda: method(objective, None, ()).grads)()
    (warning,) = [
        one for one in caught if issubclass(one.category, UserWarning)
    ]  # others' may be among them
    assert (
        str(warning.message)
        == "the loss does not depend on spare, other: no training there"
    )
    np.testing.assert_array_equal(grads, [[1, 1], [0, 0], [0, 0]])


def test_unreached_parameters_go_by_the_names_given():
    used, spare = (tf.Variable([1.0, 2.0]) for _ in range(2))
    objective = Objective([used, spare], lambda used, _: tf.reduce_sum(used))
    with pytest.warns(
        UserWarning, match="does not depend on 001.spare/kernel: no"
    ):
        backprop(names=["000.used/kernel", "001.spare/kernel"])(
            objective, None, ()
        )


def test_no_parameter_reached():
    weight = tf.Variable(1.0, name="weight")
    with pytest.raises(
        ValueError, match="depends on none of the model's parameters: weight"
    ):
        backprop()(
            Objective([weight], lambda weight: tf.constant(1.0)), None, ()
        )
