"""A Keras model and its loss as one function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core import replicas
from tftrain.core.hooks import hooked, layers_of
from tftrain.core.masks import mask_of, masked
from tftrain.core.multiplied import added
from tftrain.core.recurrent import continued, recurrent_layers
from tftrain.core.types import Batch, Carry, Tensor, Terms, Tree


def spread(weight: Tensor | None, rank: int | None, outputs: Tree) -> Tensor | None:
    """Weights [batch] for numbers of a rank, [batch, time, ...]; Keras would take them for those of the last axis."""
    if weight is None or (rank or 1) < 2:
        return weight
    return tf.broadcast_to(_of_rank(tf.convert_to_tensor(weight), rank), tf.shape(outputs)[:rank])


def unchanged(outputs: Tree) -> Tree:
    return outputs


class KerasObjective:
    """The loss of a Keras model, its regularisers included; the only caller of the model.

    `to_metrics` turns outputs into what metrics expect, such as logits into probabilities. `masks` says that the model
    gives masks with its outputs, as layers behind an Embedding with `mask_zero` do. `loss_rank` is the rank of what the
    loss gives before it is reduced, 2 where it gives a number for each time step; None where that is not known.
    """

    def __init__(
        self,
        model: Any,
        loss: Callable,
        to_metrics: Callable[[Tree], Tree] = unchanged,
        *,
        masks: bool = False,
        loss_rank: int | None = None,
    ):
        replicas.draw_apart(model)
        self.model = model
        self.loss = loss
        self.to_metrics = to_metrics
        self.loss_rank = loss_rank
        self._masks = masks

    @property
    def params(self) -> list:
        return [variable.value for variable in self.model.trainable_variables]

    def at(self, values: list[Tensor]) -> AbstractContextManager:
        variables = self.model.trainable_variables
        return keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True)

    def unrolled(self) -> AbstractContextManager:
        recurrent = [layer for layer in layers_of(self.model) if isinstance(layer, keras.layers.RNN)]
        return hooked(recurrent, lambda layer: True, "unroll")

    def masses(self, batch: Batch, outputs: Tree = None) -> Tensor:
        """What each example counts in the loss, [batch]: one, or the sum of its weights, or its unmasked steps."""
        if outputs is None and self._masks:
            # A mask comes from the inputs alone, as a rule, and of this call a graph keeps what the mask is made of.
            outputs = self.model(batch.x, training=False)
        counts, mask = [], mask_of(outputs)
        if mask is not None:
            counts.append(tf.cast(mask, tf.float32))
        if batch.weight is not None and getattr(self.loss, "reduction", None) == "mean_with_sample_weight":
            counts.append(tf.cast(batch.weight, tf.float32))
        if not counts:
            return tf.ones([tf.shape(tf.nest.flatten(batch.x)[0])[0]])
        rank = max(count.shape.rank for count in counts)
        return tf.reduce_sum(functools.reduce(tf.multiply, [_of_rank(count, rank) for count in counts]), range(1, rank))

    def terms(self, batch: Batch, carry: Tree = (), training: bool = True) -> Terms:
        # Losses and metrics are computed in float32 whatever the layers compute in.
        outputs, carry = self._called(batch, carry, training)
        loss = self.loss(batch.y, outputs, sample_weight=self.weights(batch, outputs))
        loss = loss * replicas.count()  # Keras divides by it, but the mean over replicas is taken elsewhere
        if loss.shape.rank:
            raise ValueError(f"the loss must be one number, not one for each example: it has shape {loss.shape}")
        return Terms(loss, [tf.cast(penalty, loss.dtype) for penalty in self.model.losses], outputs, carry)

    def weights(self, batch: Batch, outputs: Tree) -> Tensor | None:
        """The weights of the examples, each as often as the loss gives a number of its example."""
        return spread(batch.weight, self.loss_rank, outputs)

    def _called(self, batch: Batch, carry: Tree, training: bool) -> tuple[Tree, Tree]:
        """The outputs, with the states of recurrent layers going on where there is a Carry."""
        if not isinstance(carry, Carry):
            return tf.nest.map_structure(single, self.model(batch.x, training=training)), carry
        with continued(recurrent_layers(self.model), carry.states, batch.starts) as states:
            outputs = tf.nest.map_structure(single, self.model(batch.x, training=training))
        return outputs, carry._replace(states=states)

    def __call__(self, batch: Batch, carry: Tree = (), training: bool = True) -> tuple[Tensor, Tree, Tree]:
        return added(self.terms(batch, carry, training))

    def probabilities(self, outputs: Tree) -> Tree:
        """The outputs as metrics see them: probabilities where the model gives logits."""
        return masked(self.to_metrics(outputs), mask_of(outputs))


def single(output: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    if output.dtype not in (tf.float16, tf.bfloat16):
        return output
    return masked(tf.cast(output, tf.float32), mask_of(output))


def _of_rank(count: Tensor, rank: int) -> Tensor:
    """With axes of length 1 behind its own."""
    return count[(..., *[tf.newaxis] * (rank - count.shape.rank))]
