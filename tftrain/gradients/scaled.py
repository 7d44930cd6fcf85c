"""Gradients in half precision, kept from vanishing."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrain.core.sparse import values_of, with_values
from tftrain.core.types import Batch, Evaluation, GradientMethod, Objective, Tensor, Tree


def loss_scaled(method: GradientMethod, scale: tf.Variable) -> GradientMethod:
    """Differentiates a multiple of the loss; the loss and the gradients leave at their true size, in float32."""

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> Evaluation:
        factor = scale.read_value()
        found = method(_Scaled(objective, factor), batch, carry)
        grads = [with_values(grad, values_of(grad) / factor) for grad in found.grads]
        return found._replace(loss=found.loss / factor, grads=grads)

    return evaluate


class _Scaled:
    """An objective whose loss is multiplied."""

    def __init__(self, inner: Objective, factor: Tensor):
        self._inner, self._factor = inner, factor

    @property
    def params(self) -> list:
        return self._inner.params

    def mass(self, batch: Batch) -> Tensor:
        return self._inner.mass(batch)

    def __call__(self, batch: Batch, carry: Tree = (), training: bool = True) -> tuple[Tensor, Tree, Tree]:
        loss, outputs, carry = self._inner(batch, carry, training)
        return loss * tf.cast(self._factor, loss.dtype), outputs, carry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
