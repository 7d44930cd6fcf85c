"""Data of a user's, whose functions raise at one example after it was read `after` times."""

import numpy as np
import tensorflow as tf

BAD = 7
TARGETS = np.arange(20) % 2


class Tired:
    """Raises once the bad example was asked for more than `after` times."""

    def __init__(self, after):
        self.left = after

    def row(self, number):
        if number == BAD:
            self.left -= 1
            if self.left < 0:
                raise LookupError(f"no row {int(number)}")
        return np.full(3, number, np.float32)


def generated(after: int = 0):
    source = Tired(after)

    def rows():
        for number in range(20):
            yield source.row(number), TARGETS[number]

    return tf.data.Dataset.from_generator(
        rows, output_signature=(tf.TensorSpec([3]), tf.TensorSpec([], tf.int64))
    )


def called(after: int = 0):
    source = Tired(after)

    def row(number):
        x = tf.numpy_function(source.row, [number], tf.float32)
        return tf.ensure_shape(x, [3]), number % 2

    return tf.data.Dataset.range(20).map(row)


class Indexed(Tired):
    def __len__(self):
        return 20

    def __getitem__(self, number):
        return self.row(number), TARGETS[number]


def indexed(after: int = 0):
    return Indexed(after)


def decoded(after: int = 0):
    """Fails within an operation of TensorFlow, which knows no line of Python."""
    reads = tf.Variable(0)

    def row(number):
        whole = tf.io.encode_png(tf.zeros([2, 2, 1], tf.uint8))
        damaged = (number == BAD) & (
            reads.assign_add(tf.cast(number == BAD, tf.int32)) > after
        )
        image = tf.io.decode_png(
            tf.where(damaged, tf.constant(b"damaged"), whole), channels=1
        )
        return tf.ensure_shape(image, [2, 2, 1]), number % 2

    return tf.data.Dataset.range(20).map(row)


def misshapen():
    def rows():
        for number in range(20):
            yield np.zeros(3 + number // 10, np.float32), 0

    return tf.data.Dataset.from_generator(
        rows, output_signature=(tf.TensorSpec([3]), tf.TensorSpec([], tf.int64))
    )


calls = [0]


def tired_loss(y_true, y_pred):
    def same(outputs):
        calls[0] += 1
        if calls[0] > 12:
            raise LookupError("no more losses")
        return outputs

    outputs = tf.ensure_shape(
        tf.numpy_function(same, [tf.stop_gradient(y_pred)], tf.float32),
        y_pred.shape,
    )
    return tf.reduce_mean(
        (y_pred + outputs - tf.cast(y_true, tf.float32)) ** 2, axis=-1
    )


def plain():
    return np.ones((20, 3), np.float32), TARGETS[:, None].astype(np.float32)
