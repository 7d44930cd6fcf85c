import numpy as np
import tensorflow as tf

from tftrain.optim.clipping import clip_adaptive


def update(grads, params, **arguments):
    grads, params = (
        [tf.constant(one, tf.float32) for one in arrays]
        for arrays in (grads, params)
    )
    clipped, _, told = clip_adaptive(**arguments).update(grads, (), params)
    return [one.numpy() for one in clipped], bool(told["clipped"])


def test_each_unit_by_its_own_weights():
    weights = np.array([[3.0, 0.0], [4.0, 0.0]])  # columns of norm 5 and 0
    grads = np.array([[6.0, 0.3], [8.0, 0.4]])  # of norm 10 and 0.5
    (clipped,), bit = update([grads], [weights], ratio=0.5, epsilon=0.5)
    np.testing.assert_allclose(
        clipped, [[1.5, 0.15], [2.0, 0.2]], rtol=1e-6
    )  # to norm 0.5 * 5 and 0.5 * 0.5
    assert bit


def test_a_unit_of_a_convolution_is_a_filter():
    weights = np.ones((2, 2, 1, 3))  # filters of norm 2
    grads = weights * [1, 10, 0.5]
    (clipped,), _ = update([grads], [weights], ratio=1.0)
    np.testing.assert_array_equal(clipped, weights * [1, 1, 0.5])


def test_vectors_and_scalars_are_one_unit():
    ones = [np.ones(shape) for shape in [(4,), (), (1, 4)]]
    clipped, _ = update([4 * one for one in ones], ones, ratio=2.0)
    for mine, one in zip(clipped, ones, strict=True):
        np.testing.assert_array_equal(mine, 2 * one)
    (lone,), _ = update(
        [np.array([[0.0, 5.0]])], [np.array([[3.0, 4.0]])], ratio=0.5
    )
    np.testing.assert_array_equal(
        lone, [[0, 2.5]]
    )  # by the norm 5 of both weights


def test_the_defaults_are_those_of_the_paper():
    clipped, bit = update([np.array([1.0, 0.0])], [np.array([0.0, 2.0])])
    np.testing.assert_allclose(clipped[0], [0.02, 0], rtol=1e-6)
    clipped, _ = update([np.array([1.0])], [np.array([0.0])])
    np.testing.assert_allclose(clipped[0], [1e-5], rtol=1e-6)
    assert bit and not update([np.array([0.02])], [np.array([2.0])])[1]
