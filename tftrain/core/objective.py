"""A Keras model and its loss as one function of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tftrain.core import replicas
from tftrain.core.types import Batch, Tensor, Tree


def unchanged(outputs: Tree) -> Tree:
    return outputs


class KerasObjective:
    """The loss of a Keras model, its regularisers included; the only caller of the model.

    `to_metrics` turns outputs into what metrics expect, such as logits into probabilities.
    """

    def __init__(self, model: Any, loss: Callable, to_metrics: Callable[[Tree], Tree] = unchanged):
        replicas.draw_apart(model)
        self.model = model
        self.loss = loss
        self.to_metrics = to_metrics

    @property
    def params(self) -> list:
        return [variable.value for variable in self.model.trainable_variables]

    def mass(self, batch: Batch) -> Tensor:
        """What the loss of a batch is divided by, up to a factor: shares of it add up to the loss of a larger batch."""
        if batch.weight is not None and getattr(self.loss, "reduction", None) == "mean_with_sample_weight":
            return tf.reduce_sum(tf.cast(batch.weight, tf.float32))
        return tf.cast(tf.shape(tf.nest.flatten(batch.x)[0])[0], tf.float32)

    def __call__(self, batch: Batch, carry: Tree = (), training: bool = True) -> tuple[Tensor, Tree, Tree]:
        # Losses and metrics are computed in float32 whatever the layers compute in.
        outputs = tf.nest.map_structure(single, self.model(batch.x, training=training))
        loss = self.loss(batch.y, outputs, sample_weight=batch.weight)
        loss = loss * replicas.count()  # Keras divides by it, but the mean over replicas is taken elsewhere
        if loss.shape.rank:
            raise ValueError(f"the loss must be one number, not one for each example: it has shape {loss.shape}")
        penalties = [tf.cast(penalty, loss.dtype) for penalty in self.model.losses]
        return tf.add_n([loss, *penalties]), outputs, carry

    def probabilities(self, outputs: Tree) -> Tree:
        """The outputs as metrics see them: probabilities where the model gives logits."""
        return self.to_metrics(outputs)


def single(output: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    return tf.cast(output, tf.float32) if output.dtype in (tf.float16, tf.bfloat16) else output
