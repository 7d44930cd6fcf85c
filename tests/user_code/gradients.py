"""Gradient methods of a user's own."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from tftrain.core.types import LossAndGrads


def example_by_example():
    """The mean of the gradients of single examples."""

    def evaluate(objective, batch, carry):
        def one(index):
            alone = batch._replace(
                x=batch.x[index : index + 1], y=batch.y[index : index + 1]
            )
            with tf.GradientTape() as tape:
                loss, outputs, _ = objective(alone, carry)
            return [loss, outputs, *tape.gradient(loss, objective.params)]

        found = [one(index) for index in range(batch.x.shape[0])]
        loss, outputs, *grads = (
            list(column) for column in zip(*found, strict=True)
        )
        return LossAndGrads(
            sum(loss) / len(loss),
            [sum(grad) / len(grad) for grad in grads],
            tf.concat(outputs, 0),
        )

    return evaluate


@keras.saving.register_keras_serializable()
class Twice(keras.layers.Layer):
    """Doubles its input by a weight, with a gradient of one's own that may be wrong."""

    def __init__(self, error: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def build(self, shape):
        self.factor = self.add_weight(
            shape=(shape[-1],),
            initializer=keras.initializers.Constant(2.0),
            name="factor",
        )

    def call(self, x):
        @tf.custom_gradient
        def multiplied(x, factor):
            def grad(upstream):
                return upstream * factor, tf.reduce_sum(upstream * x, 0) * (
                    1 + self.error
                )

            return x * factor, grad

        return multiplied(x, tf.convert_to_tensor(self.factor))


@keras.saving.register_keras_serializable()
class Around(keras.layers.Layer):
    """Multiplies by a weight that its gradient takes from around the function, as TensorFlow's guide does."""

    def build(self, shape):
        self.factor = self.add_weight(
            shape=(shape[-1],),
            initializer=keras.initializers.Constant(2.0),
            name="factor",
        )

    def call(self, x):
        @tf.custom_gradient
        def multiplied(x):
            factor = tf.convert_to_tensor(self.factor)

            def grad(upstream, variables=None):
                own = [tf.reduce_sum(upstream * x, 0)]
                return (
                    (upstream * factor, own) if variables else upstream * factor
                )

            return x * factor, grad

        return multiplied(x)


@keras.saving.register_keras_serializable()
class Stopped(keras.layers.Layer):
    """Multiplies by a weight that no gradient reaches, and adds one that it does."""

    def build(self, shape):
        self.still, self.moving = (
            self.add_weight(shape=(shape[-1],), name=name)
            for name in ("still", "moving")
        )

    def call(self, x):
        return (
            x * (1 + tf.stop_gradient(tf.convert_to_tensor(self.still)))
            + self.moving
        )


@keras.saving.register_keras_serializable()
class Shrinking(keras.layers.Layer):
    """Changes its kernel in the forward pass, as spectral normalization does."""

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], shape[-1]), name="kernel"
        )

    def call(self, x):
        self.kernel.assign(self.kernel / (1 + tf.norm(self.kernel)))
        return x @ self.kernel


def single(*, outputs):
    """A model that is in float32 whatever Keras is in."""
    return keras.Sequential([keras.layers.Dense(outputs, dtype="float32")])


@keras.saving.register_keras_serializable()
class Squared(keras.layers.Layer):
    """Without parameters, and with a gradient of its own that may be wrong."""

    def __init__(self, error: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def call(self, x):
        @tf.custom_gradient
        def squared(x):
            return x * x, lambda upstream: upstream * 2 * x * (1 + self.error)

        return squared(x)


@keras.saving.register_keras_serializable()
class Blended(keras.layers.Layer):
    """Draws other numbers in each pass, where `seeded` from a seed that Keras knows."""

    def __init__(self, seeded: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(1) if seeded else None

    def call(self, x):
        draw = (
            tf.random.uniform
            if self.seed is None
            else functools.partial(keras.random.uniform, seed=self.seed)
        )
        return x * draw(tf.shape(x), dtype=x.dtype)


@keras.saving.register_keras_serializable()
class Shared(keras.layers.Layer):
    """Draws from the seed that all have who give none."""

    def call(self, x):
        return x * keras.random.uniform(tf.shape(x), dtype=x.dtype)


@keras.saving.register_keras_serializable()
class Bent(keras.layers.Layer):
    """Its weight begins at a kink."""

    def build(self, shape):
        self.bend = self.add_weight(
            shape=(3,), initializer="zeros", name="bend"
        )

    def call(self, x):
        return x[:, :3] + tf.nn.relu(tf.convert_to_tensor(self.bend))


class Late(keras.Model):
    """Calls its layers in another order than it makes them."""

    def __init__(self, *, outputs):
        super().__init__()
        self.last, self.first = (
            keras.layers.Dense(outputs, name="last"),
            keras.layers.Dense(5, name="first"),
        )
        self.drop, self.square = (
            keras.layers.Dropout(0.2, name="drop"),
            Squared(name="square"),
        )

    def call(self, x):
        return self.last(self.square(self.drop(self.first(x))))


def branches(*, outputs):
    """The fault is in one of two branches, whose layers are called in turn."""
    x = inputs = keras.Input((4,))
    left, right = (
        keras.layers.Dense(5, name=name)(x) for name in ("left", "right")
    )
    left, right = (
        Squared(name="square")(left),
        keras.layers.Dense(5, name="right_2")(keras.layers.ReLU()(right)),
    )
    joined = keras.layers.Add()([left, right])
    return keras.Model(inputs, keras.layers.Dense(outputs, name="top")(joined))


@keras.saving.register_keras_serializable()
class Forgetful(keras.layers.Layer):
    """A cell of a recurrent layer that drops some of what it gives, anew at each time step."""

    def __init__(self, units: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.cell, self.dropout = (
            keras.layers.SimpleRNNCell(units),
            keras.layers.Dropout(0.5, seed=3),
        )

    def build(self, shape):
        self.cell.build(shape)

    def call(self, x, states, training=False):
        output, states = self.cell(x, states)
        return self.dropout(output, training=training), states


def forgetful(*, input_shape: tuple, outputs: int):
    layers = keras.layers
    stack = [
        keras.Input(input_shape),
        layers.Reshape((4, 1)),
        layers.RNN(Forgetful(), name="reader"),
    ]
    return keras.Sequential([*stack, layers.Dense(outputs)])
