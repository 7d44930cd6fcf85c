"""Gradients by reverse-mode differentiation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.numerics import Gradient, gradient_dtype, sum_duplicate_rows
from tftrain.core.types import (
    Batch,
    GradientMethod,
    LossAndGrads,
    Objective,
    Tensor,
    Tree,
)


def backprop(*, names: Sequence[str] = ()) -> GradientMethod:
    """The exact gradient of the loss, from one forward and one backward pass.

    A parameter that the loss does not reach gets zeros and is named in a warning, as in `names`, or by its own name.
    Raises ValueError if the loss reaches no parameter.
    """
    warned: set[str] = (
        set()
    )  # a run is traced more than once, and should be told once

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        params = objective.params
        with tf.GradientTape() as tape:
            loss, outputs, carry = objective(batch, carry)
        grads = tape.gradient(loss, params)
        labels = names or [param.name.removesuffix(":0") for param in params]
        unreached = [
            label
            for label, grad in zip(labels, grads, strict=True)
            if grad is None
        ]
        if len(unreached) == len(params):
            raise ValueError(
                f"the loss depends on none of the model's parameters: {', '.join(unreached)}"
            )
        if set(unreached) - warned:
            warnings.warn(
                f"the loss does not depend on {', '.join(unreached)}: no training there",
                stacklevel=2,
            )
            warned.update(unreached)
        return LossAndGrads(
            loss,
            [
                dense_or_zeros(grad, param)
                for grad, param in zip(grads, params, strict=True)
            ],
            outputs,
            carry,
        )

    return evaluate


def dense_or_zeros(grad: Gradient | None, param: Tensor) -> Gradient:
    """Return a gradient in the type of gradients; a sparse one with each row once, a missing one as zeros.

    Args:
        grad: what a tape gave.
        param: that it is of.
    """
    if grad is None:
        return tf.zeros(param.shape, gradient_dtype())
    return (
        sum_duplicate_rows(grad)
        if isinstance(grad, tf.IndexedSlices)
        else tf.cast(grad, gradient_dtype())
    )
