"""Gradients by reverse-mode differentiation."""

from __future__ import annotations

import warnings

import tensorflow as tf

from tftrain.core.types import Batch, Evaluation, GradientMethod, Objective, Tensor, Tree


def backprop() -> GradientMethod:
    """The exact gradient of the loss, from one forward and one backward pass.

    A parameter that the loss does not reach gets zeros and is named in a warning. Raises ValueError if the loss
    reaches no parameter.
    """
    warned: set[str] = set()  # a run is traced more than once, and should be told once

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> Evaluation:
        params = objective.params
        with tf.GradientTape() as tape:
            loss, outputs, carry = objective(batch, carry)
        found = tape.gradient(loss, params)
        unreached = [param.name.removesuffix(":0") for param, grad in zip(params, found, strict=True) if grad is None]
        if len(unreached) == len(params):
            raise ValueError(f"the loss depends on none of the model's parameters: {', '.join(unreached)}")
        if set(unreached) - warned:
            warnings.warn(f"the loss does not depend on {', '.join(unreached)}: no training there", stacklevel=2)
            warned.update(unreached)
        return Evaluation(loss, [dense(grad, param) for grad, param in zip(found, params, strict=True)], outputs, carry)

    return evaluate


def dense(grad: Tensor | tf.IndexedSlices | None, param: Tensor) -> Tensor:
    """A gradient as a float32 tensor of the parameter's shape; repeated rows of a sparse one are summed."""
    if grad is None:
        return tf.zeros(param.shape)
    if isinstance(grad, tf.IndexedSlices):
        grad = tf.math.unsorted_segment_sum(grad.values, grad.indices, param.shape[0])
    return tf.cast(grad, tf.float32)
