"""Gradient methods of a user's own."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import Evaluation


def example_by_example():
    """The mean of the gradients of single examples."""

    def evaluate(objective, batch, carry):
        def one(index):
            alone = batch._replace(x=batch.x[index : index + 1], y=batch.y[index : index + 1])
            with tf.GradientTape() as tape:
                loss, outputs, _ = objective(alone, carry)
            return [loss, outputs, *tape.gradient(loss, objective.params)]

        found = [one(index) for index in range(batch.x.shape[0])]
        loss, outputs, *grads = (list(column) for column in zip(*found, strict=True))
        return Evaluation(sum(loss) / len(loss), [sum(grad) / len(grad) for grad in grads], tf.concat(outputs, 0))

    return evaluate
