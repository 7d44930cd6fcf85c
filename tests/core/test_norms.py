import numpy as np
import tensorflow as tf

from tftrain.core.norms import global_norm, norms, square_sums


def test_parts_and_whole():
    tensors = [tf.constant([[3.0, 4.0]]), tf.constant(12.0), tf.zeros([0, 7])]
    np.testing.assert_array_equal(square_sums(tensors), [25, 144, 0])
    np.testing.assert_array_equal(norms(tensors), [5, 12, 0])
    assert global_norm(square_sums(tensors)) == 13


def test_no_tensors():
    assert square_sums([]).shape == (0,)
    assert global_norm(square_sums([])) == 0


def test_same_as_tensorflow():
    random = np.random.default_rng(0)
    tensors = [tf.constant(random.normal(size=shape), tf.float32) for shape in [(30, 40), (7,), ()]]
    # The order of summation differs, which float32 shows in its last digit.
    np.testing.assert_allclose(global_norm(square_sums(tensors)), tf.linalg.global_norm(tensors), rtol=1e-6)


def test_half_precision_is_summed_in_float32():
    assert norms([tf.fill([4], tf.constant(300.0, tf.float16))])[0] == 600  # its square is past float16's 65504
