"""Gradients held to a norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.sparse import Gradient, values_of, with_values
from tftrain.core.types import Tensor


def factor(norms: Tensor, limit: Tensor) -> Tensor:
    """What brings a norm down to its limit, exactly 1 within it; NaN where the norm is not finite."""
    shrunk = tf.where(norms > limit, limit / norms, 1.0)
    return tf.where(tf.math.is_finite(norms), shrunk, math.nan)


def held(grads: Sequence[Gradient], norms: Tensor, limit: Tensor) -> list[Gradient]:
    """The gradients, scaled down by what brings their norms to the limit.

    `norms` is one number for all gradients, or one for each, [gradients].
    """
    found = factor(norms, limit)
    factors = tf.unstack(found) if found.shape.rank else [found] * len(grads)
    return [with_values(grad, values_of(grad) * one) for grad, one in zip(grads, factors, strict=True)]
