"""Learning rates."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tftrain.core.types import Rate, Tensor
from tftrain.values import Duration, LearningRate


def constant(value: float) -> Rate:
    """One rate for the whole run."""
    return scheduled(lambda step: value)


def scheduled(schedule: Callable[[Tensor], Tensor]) -> Rate:
    """A rate that is a function of the step alone, such as a Keras schedule; the first step is 0."""
    return Rate(lambda: (), lambda state, step, grad_norm: (tf.cast(schedule(step), tf.float32), state))


def as_rate(rate: Rate | float | Callable[[Tensor], Tensor]) -> Rate:
    """A number or a function of the step, such as a Keras schedule, as a rate; a rate stays what it is."""
    if isinstance(rate, Rate):
        return rate
    return scheduled(rate) if callable(rate) else constant(rate)


def warmup(steps: Duration, then: LearningRate) -> Rate:
    """A linear climb over `steps` steps to the first rate of `then`, which takes over from there.

    Step s of the climb has (s + 1) / steps of that rate (Goyal et al., 2017, section 2.2).
    """

    then = as_rate(then)

    def update(state, step, grad_norm):
        rate, state = then.update(state, tf.maximum(step - steps, 0), grad_norm)
        climbed = tf.cast(step + 1, tf.float32) / tf.cast(steps, tf.float32)
        return rate * tf.minimum(climbed, 1.0), state

    return Rate(then.init, update)
