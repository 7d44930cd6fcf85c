"""Gradient methods of a user's own."""

from __future__ import annotations

import keras
import tensorflow as tf

from tftrain.core.types import Evaluation


def example_by_example():
    """The mean of the gradients of single examples."""

    def evaluate(objective, batch, carry):
        def one(index):
            alone = batch._replace(x=batch.x[index : index + 1], y=batch.y[index : index + 1])
            with tf.GradientTape() as tape:
                loss, outputs, _ = objective(alone, carry)
            return [loss, outputs, *tape.gradient(loss, objective.params)]

        found = [one(index) for index in range(batch.x.shape[0])]
        loss, outputs, *grads = (list(column) for column in zip(*found, strict=True))
        return Evaluation(sum(loss) / len(loss), [sum(grad) / len(grad) for grad in grads], tf.concat(outputs, 0))

    return evaluate


@keras.saving.register_keras_serializable()
class Twice(keras.layers.Layer):
    """Doubles its input by a weight, with a gradient of one's own that may be wrong."""

    def __init__(self, error: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(2.0), name="factor")

    def call(self, x):
        @tf.custom_gradient
        def multiplied(x, factor):
            def grad(upstream):
                return upstream * factor, tf.reduce_sum(upstream * x, 0) * (1 + self.error)

            return x * factor, grad

        return multiplied(x, tf.convert_to_tensor(self.factor))


@keras.saving.register_keras_serializable()
class Around(keras.layers.Layer):
    """Multiplies by a weight that its gradient takes from around the function, as TensorFlow's guide does."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(2.0), name="factor")

    def call(self, x):
        @tf.custom_gradient
        def multiplied(x):
            factor = tf.convert_to_tensor(self.factor)

            def grad(upstream, variables=None):
                own = [tf.reduce_sum(upstream * x, 0)]
                return (upstream * factor, own) if variables else upstream * factor

            return x * factor, grad

        return multiplied(x)


@keras.saving.register_keras_serializable()
class Stopped(keras.layers.Layer):
    """Multiplies by a weight that no gradient reaches, and adds one that it does."""

    def build(self, shape):
        self.still, self.moving = (self.add_weight(shape=(shape[-1],), name=name) for name in ("still", "moving"))

    def call(self, x):
        return x * (1 + tf.stop_gradient(tf.convert_to_tensor(self.still))) + self.moving


@keras.saving.register_keras_serializable()
class Shrinking(keras.layers.Layer):
    """Changes its kernel in the forward pass, as spectral normalization does."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        self.kernel.assign(self.kernel / (1 + tf.norm(self.kernel)))
        return x @ self.kernel


def single(*, outputs):
    """A model that is in float32 whatever Keras is in."""
    return keras.Sequential([keras.layers.Dense(outputs, dtype="float32")])
