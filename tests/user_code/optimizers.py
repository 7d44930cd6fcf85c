"""Optimizers of a user's own, made in their code, where no config sees what they are given."""

from __future__ import annotations

import keras


def sgd(learning_rate: float = 0.1, more: dict | None = None):
    return keras.optimizers.SGD(learning_rate, **(more or {}))


def loss_scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))


def falling(learning_rate: float = 0.5):
    return keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay(
            [0, 1], [learning_rate, 0.25, 0.125]
        )
    )


def called():
    return keras.optimizers.SGD(lambda: 0.25)


def tenfold(learning_rate: float = 0.1):
    return keras.optimizers.SGD(10 * learning_rate, weight_decay=0.5)


@keras.saving.register_keras_serializable(package="own")
class Descent(keras.optimizers.Optimizer):
    """Gradient descent by the rate that it is given, or by the one that it holds."""

    def __init__(
        self,
        learning_rate: float = 0.1,
        held: bool = False,
        name: str = "descent",
    ):
        super().__init__(learning_rate=learning_rate, name=name)
        self.held = held

    def update_step(self, gradient, variable, learning_rate):
        rate = self.learning_rate if self.held else learning_rate
        self.assign_sub(
            variable, keras.ops.cast(rate, variable.dtype) * gradient
        )


class Inherited(keras.optimizers.Adam):
    """Takes the arguments of the optimizer that it inherits from."""


def several():
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD())
    )
