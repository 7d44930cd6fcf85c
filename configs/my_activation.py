"""An activation whose gradient is written by hand."""

import tensorflow as tf


@tf.custom_gradient
def squareplus(x):
    """(x + sqrt(x^2 + 1/4)) / 2, a smooth ReLU (Barron, 2021, arXiv 2112.11687), and its derivative."""
    root = tf.sqrt(x * x + 0.25)
    return (x + root) / 2, lambda upstream: upstream * (1 + x / root) / 2
