import numpy as np
import tensorflow as tf

from tftrain.core.execution import xla_obstacle
from tftrain.core.types import Batch


def traced(function, *shape):
    compiled = tf.function(function, jit_compile=True)
    tf.function(
        lambda: compiled(Batch(tf.ones(shape), tf.ones([2])))
    ).get_concrete_function()
    return compiled


def test_what_can_be_compiled_is_not_run():
    count = tf.Variable(0.0)
    step = traced(lambda batch: count.assign_add(tf.reduce_sum(batch.x)), 4, 3)
    sample = Batch(
        np.ones([2, 3], np.float32), np.ones([2], np.float32)
    )  # of a batch that always has 4 there are 2
    assert xla_obstacle(step, sample) is None
    assert float(count) == 0


def test_what_cannot_be_compiled_is_named():
    step = traced(
        lambda batch: tf.numpy_function(lambda x: x, [batch.x], tf.float32),
        2,
        3,
    )
    sample = Batch(np.ones([2, 3], np.float32), np.ones([2], np.float32))
    assert (
        xla_obstacle(step, sample)
        == "XLA does not know the TensorFlow operation PyFunc"
    )
