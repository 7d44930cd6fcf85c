"""What every transform says of itself."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.numerics import global_norm, square_sums
from tftrain.core.types import Tensor, Transform


def measured(transform: Transform) -> Transform:
    """The transform, telling its global norms and what it did to them, beside all that it tells itself.

    `norm_before`, `norm_after`, `factor` (their ratio) and `clipped` (1 where the gradients got shorter, else 0); what
    the transform tells under one of these names stands.
    """

    def update(grads, state, params):
        after, state, told = transform.update(grads, state, params)
        # The norm after one stage is that before the next; both are computed once, for the graph optimizer merges them.
        found = _compared(global_norm(square_sums(grads)), global_norm(square_sums(after)))
        return after, state, {name: tf.cast(value, tf.float32) for name, value in (found | told).items()}

    return Transform(transform.init, update)


def _compared(before: Tensor, after: Tensor) -> dict[str, Tensor]:
    ratio = tf.where((before == 0) & (after == 0), 1.0, after / before)
    return {"norm_before": before, "norm_after": after, "factor": ratio, "clipped": after < before}
