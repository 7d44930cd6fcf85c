"""Gradients in half precision, kept from vanishing."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.scaled_objective import Multiplied
from tftrain.core.sparse import values_of, with_values
from tftrain.core.types import Batch, Evaluation, GradientMethod, Objective, Tree


def loss_scaled(method: GradientMethod, scale: tf.Variable) -> GradientMethod:
    """Differentiates a multiple of the loss; the loss and the gradients leave at their true size, in float32."""

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> Evaluation:
        factor = scale.read_value()
        found = method(Multiplied(objective, factor), batch, carry)
        grads = [with_values(grad, values_of(grad) / factor) for grad in found.grads]
        return found._replace(loss=found.loss / factor, grads=grads)

    return evaluate
