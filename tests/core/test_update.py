"""Updates with rates, decays and averages of their own, by numbers that a pencil can check."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.update import Averages, Shares, apply


def variables(*values):
    return [keras.Variable(np.array(value, np.float32)) for value in values]


def optimizer(found, kind=keras.optimizers.SGD, **arguments):
    made = kind(**arguments)
    made.build(found)
    return made


def test_plain():
    found = variables([1.0, 2.0], [3.0])
    apply(optimizer(found), [tf.constant([1.0, -1.0]), tf.constant([2.0])], found, tf.constant(0.5), [Shares()] * 2)
    np.testing.assert_array_equal(found[0], [0.5, 2.5])
    np.testing.assert_array_equal(found[1], [2.0])


def test_own_rate_and_decay():
    found = variables([1.0, 2.0], [3.0])
    grads = [tf.constant([1.0, -1.0]), tf.constant([2.0])]
    apply(optimizer(found), grads, found, tf.constant(0.5), [Shares(0.5), Shares(2.0, 0.1)])
    np.testing.assert_array_equal(found[0], [0.75, 2.25])
    # the decay takes 0.5 * 0.1 * 3, the gradient 0.5 * 2, and both count twice
    np.testing.assert_allclose(found[1], [3.0 + 2 * (-0.15 - 1.0)], rtol=1e-6)


def test_no_rate_at_all_changes_nothing():
    found = variables([1.0, 2.0])
    apply(optimizer(found), [tf.constant([1.0, -1.0])], found, tf.constant(0.5), [Shares(0.0, 0.1)])
    np.testing.assert_array_equal(found[0], [1.0, 2.0])


@pytest.mark.parametrize("kind", [keras.optimizers.AdamW, keras.optimizers.Lion, keras.optimizers.SGD])
def test_our_decay_is_that_of_keras(kind):
    ours, theirs = variables([1.0, -2.0, 0.5]), variables([1.0, -2.0, 0.5])
    mine, keras_own = optimizer(ours, kind, weight_decay=0.0), optimizer(theirs, kind, weight_decay=0.04)
    for step in range(5):
        grad = tf.constant([0.3, -0.2, 0.1]) * (step + 1)
        apply(mine, [grad], ours, tf.constant(0.05), [Shares(1.0, 0.04)])
        apply(keras_own, [grad], theirs, tf.constant(0.05), [Shares()])
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)  # the same products, in another order


@pytest.mark.parametrize("kind", [keras.optimizers.Adam, keras.optimizers.RMSprop, keras.optimizers.Nadam])
def test_a_multiple_of_the_rate_is_another_rate(kind):
    ours, theirs = variables([1.0, -2.0]), variables([1.0, -2.0])
    mine, other = optimizer(ours, kind), optimizer(theirs, kind)
    for step in range(5):
        grad = tf.constant([0.3, -0.2]) * (step + 1)
        apply(mine, [grad], ours, tf.constant(0.05), [Shares(0.25)])
        apply(other, [grad], theirs, tf.constant(0.0125), [Shares()])
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)  # float32: the change is a difference of the parameters


@pytest.mark.parametrize(
    ("constraint", "expected"), [(keras.constraints.NonNeg(), [4.0, 0.0]), (keras.constraints.UnitNorm(), [0.8, -0.6])]
)
@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
def test_a_constraint_comes_after_the_multiple(constraint, expected, rate):
    (found,) = variables([1.0, 1.0])
    found.constraint = constraint
    grad = tf.constant([-3.0, 4.0]) / rate
    apply(optimizer([found]), [grad], [found], tf.constant(1.0), [Shares(rate)])  # to (4, -3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # UnitNorm adds 1e-7 to the norm
    assert found.constraint is constraint


def test_averages():
    param = tf.Variable([1.0, 0.0])
    averages = Averages([param], 0.75)
    for value in ([2.0, 4.0], [2.0, 8.0]):
        param.assign(value)
        averages.advance()
    np.testing.assert_array_equal(averages.variables[0], [1.4375, 2.75])  # 1 -> 1.25 -> 1.4375, 0 -> 1 -> 2.75
    averages.swap()
    np.testing.assert_array_equal(param, [1.4375, 2.75])
    averages.swap()
    np.testing.assert_array_equal(param, [2.0, 8.0])
    np.testing.assert_array_equal(averages.variables[0], [1.4375, 2.75])


def test_a_graph_with_an_update_is_let_go_with_its_variables():
    def updated():
        found = variables([1.0, 2.0])
        made = optimizer(found)
        step = tf.function(lambda: apply(made, [tf.constant([1.0, -1.0])], found, tf.constant(0.5), [Shares()]))
        step()
        return weakref.ref(step.get_concrete_function().graph), weakref.ref(found[0].value)

    graph, variable = updated()
    gc.collect()
    assert graph() is None and variable() is None
