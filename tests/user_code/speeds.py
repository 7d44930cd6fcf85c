"""Learning rates of a user's own, in every form that one can have."""

import keras

from tftrain.core.types import Rate


def sawtooth(step, period: int = 4, top: float = 1.0):
    """Climbs to `top` over and over."""
    if step < 2:  # a condition on the step, in plain Python
        return 0.5 * top
    return top * (step % period + 1) / period


def halving(every: int):
    """Builds a Keras schedule."""
    return keras.optimizers.schedules.ExponentialDecay(
        1.0, every, 0.5, staircase=True
    )


def inverse(scale: float):
    """Builds a function of the step."""
    return lambda step: scale / (step + 1)


class Line:
    """An object that is called with the step."""

    def __init__(self, slope: float):
        self.slope = slope

    def __call__(self, step):
        return self.slope * (step + 1)


def by_norm(share: float):
    """Builds a rate that goes by the gradient."""
    return Rate(
        lambda: (), lambda state, step, grad_norm: (share * grad_norm, state)
    )


def half():
    return 0.5


def nothing():
    """Forgets to return its rate."""


fixed = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
