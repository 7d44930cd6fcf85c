"""A loss scale that finds its own size, for gradients in half precision."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.core_variables import FIRST
from tftrain.core.types import Tensor

START, LEAST, MOST = 2.0**15, 1.0, 2.0**40
GROWTH_STEPS = 2000  # good steps after which twice the scale is tried


class LossScale:
    """Halves when a gradient overflows, doubles after many good steps (Micikevicius et al., 2018, section 3.2).

    A power of two, so that scaling and dividing back change no bit of a number that does not overflow or vanish.
    """

    def __init__(self, growth_steps: int = GROWTH_STEPS):
        self.value = tf.Variable(START, name="loss_scale", **FIRST)
        self.good_steps = tf.Variable(0, dtype=tf.int64, name="good_steps", **FIRST)
        self._growth_steps = growth_steps

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.value, self.good_steps]

    def update(self, loss: Tensor, finite: Tensor) -> None:
        """Take in the loss of a step, and whether its gradients were finite too.

        A loss that is not finite leaves the scale as it is: no smaller one would have helped.
        """
        good = self.good_steps.read_value() + 1
        grown, scale = good >= self._growth_steps, self.value.read_value()
        larger = tf.where(grown, tf.minimum(scale * 2, MOST), scale)
        smaller = tf.where(tf.math.is_finite(loss), tf.maximum(scale / 2, LEAST), scale)
        self.value.assign(tf.where(finite, larger, smaller))
        self.good_steps.assign(tf.where(finite & ~grown, good, 0))
