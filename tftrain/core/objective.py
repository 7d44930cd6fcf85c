"""A Keras model and its loss as one function of a batch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.layer_hooks import patched_attribute
from tftrain.core.loss_owners import Kind, Owner, loss_owners
from tftrain.core.masks import both, mask_of
from tftrain.core.masks import with_mask as masked
from tftrain.core.recurrent import recurrent_layers, stateful_calls, unrolled
from tftrain.core.scaled_objective import total_loss
from tftrain.core.scores import update_metric
from tftrain.core.types import Batch, Carry, LossTerms, Tensor, Tree


def broadcast_weights(
    weight: Tensor | None, rank: int | None, outputs: Tree
) -> Tensor | None:
    """Return weights of examples as weights of the numbers of a loss, [batch, time, ...].

    Args:
        weight: [batch]; None where there are none.
        rank: that of the numbers. Keras would take [batch] for weights of the last axis.
        outputs: those of the model, for their shape.
    """
    if weight is None or (rank or 1) < 2:
        return weight
    expanded = _of_rank(tf.convert_to_tensor(weight), rank)
    return tf.broadcast_to(expanded, tf.shape(outputs)[:rank])


def unchanged(outputs: Tree) -> Tree:
    """Return the outputs as they are."""
    return outputs


class KerasObjective:
    """The loss of a Keras model, its regularisers included; the only caller of the model.

    `to_metrics` turns outputs into what metrics expect, such as logits into probabilities. `masks` says that the model
    gives masks with its outputs, as layers behind an Embedding with `mask_zero` do, or that the loss does with what it
    gives, as those with `ignore_class` do. `loss_rank` is the rank of what the loss gives before it is reduced, 2 where
    it gives a number for each time step; None where that is not known. `penalties` tells how the losses that layers add
    go with the examples (`core.penalties`); those of which it does not tell are taken for means.
    """

    def __init__(
        self,
        model: Any,
        loss: Callable,
        to_metrics: Callable[[Tree], Tree] = unchanged,
        *,
        masks: bool = False,
        loss_rank: int | None = None,
        penalties: Mapping[Owner, Kind] | None = None,
    ):
        replication.per_replica_seeds(model)
        self.model = model
        self.loss = loss
        self.to_metrics = to_metrics
        self.loss_rank = loss_rank
        self.penalties = penalties or {}
        self._sums = {
            owner for owner, kind in self.penalties.items() if kind == "sum"
        }
        self.adds_up = getattr(loss, "reduction", None) == "sum"
        self.masks = masks

    @property
    def params(self) -> list:
        """The parameters that are trained."""
        return [variable.value for variable in self.model.trainable_variables]

    def at(self, values: list[Tensor]) -> AbstractContextManager:
        """Give the parameters other values during the block; what a forward pass changes is not kept."""
        variables = self.model.trainable_variables
        mapping = list(zip(variables, values, strict=True))
        return keras.StatelessScope(mapping, collect_losses=True)

    def unrolled(self) -> AbstractContextManager:
        """Have recurrent layers unrolled in the graph during the block."""
        return unrolled(self.model)

    def masses(self, batch: Batch, outputs: Tree = None) -> Tensor:
        """Return what each example counts in the loss, [batch]: one, or the sum of its weights, or its unmasked steps.

        Args:
            batch: the examples.
            outputs: what the model gives for them, if known; otherwise it may have to be called for masks.
        """
        mask = self.mask_ahead(batch) if outputs is None else mask_of(outputs)
        counts = []
        if mask is not None:
            counts.append(tf.cast(mask, tf.float32))
        reduction = getattr(self.loss, "reduction", None)
        if batch.weight is not None and reduction == "mean_with_sample_weight":
            counts.append(tf.cast(batch.weight, tf.float32))
        if not counts:
            return tf.ones([_row_count(batch)])
        rank = max(count.shape.rank for count in counts)
        expanded = [_of_rank(count, rank) for count in counts]
        product = functools.reduce(tf.multiply, expanded)
        return tf.reduce_sum(product, range(1, rank))

    def mask_ahead(self, batch: Batch, training: bool = False) -> Tensor | None:
        """What counts in the loss, as it is known before the pass whose loss it is; None where all does.

        That is where a mask comes from inputs and targets alone (`core.ahead`): of the call of the model a graph then
        keeps what its mask is made of, and the loss is given zeros for the outputs.

        Args:
            batch: the examples.
            training: whether the model is called in training mode.
        """
        if not self.masks:
            return None
        outputs = self.model(batch.x, training=training)
        zeros = _zeros_like(outputs, _row_count(batch))
        zeros = masked(zeros, mask_of(outputs))
        unweighted = batch._replace(weight=None)
        _, masked_zeros = self._masked_loss(unweighted, zeros)
        return mask_of(masked_zeros)

    def terms(
        self, batch: Batch, carry: Tree = (), training: bool = True
    ) -> LossTerms:
        """Return the loss and its terms; see `core.types.LossTerms`.

        Losses and metrics are computed in float32 whatever the layers compute in.

        Args:
            batch: the examples.
            carry: the states of recurrent layers before the batch, if it continues sequences.
            training: whether the model is called in training mode.
        """
        outputs, carry = self._call_model(batch, carry, training)
        loss, outputs = self._masked_loss(batch, outputs)
        if not self.adds_up:
            # Keras divides a mean by it, but the mean over replicas is taken elsewhere.
            loss = loss * replication.count()
        if loss.shape.rank:
            raise ValueError(
                f"the loss must be one number, not one for each example: it has shape {loss.shape}"
            )
        added = [tf.cast(penalty, loss.dtype) for penalty in self.model.losses]
        owners = loss_owners(self.model) if self._sums else []
        penalties = []
        sums = []
        # Regularizers of weights come behind the losses that layers add, and have no owner.
        for penalty, owner in itertools.zip_longest(added, owners):
            if owner in self._sums:
                sums.append(penalty)
            else:
                penalties.append(penalty)
        return LossTerms(loss, penalties, sums, outputs, carry)

    def _masked_loss(self, batch: Batch, outputs: Tree) -> tuple[Tensor, Tree]:
        """The loss, and the outputs with a mask of what counts in it."""
        weights = self.weights(batch, outputs)
        with masks_given(self.loss) as masks:
            loss = self.loss(batch.y, outputs, sample_weight=weights)
        return loss, _hide_masked(outputs, masks)

    def weights(self, batch: Batch, outputs: Tree) -> Tensor | None:
        """Return the weights of the examples, each as often as the loss gives a number for its example.

        Args:
            batch: the examples.
            outputs: what the model gives for them.
        """
        return broadcast_weights(batch.weight, self.loss_rank, outputs)

    def _call_model(
        self, batch: Batch, carry: Tree, training: bool
    ) -> tuple[Tree, Tree]:
        """The outputs, with the states of recurrent layers going on where there is a Carry."""
        if not isinstance(carry, Carry):
            outputs = self.model(batch.x, training=training)
            return tf.nest.map_structure(to_float32, outputs), carry
        layers = recurrent_layers(self.model)
        with stateful_calls(layers, carry.states, batch.starts) as states:
            outputs = self.model(batch.x, training=training)
        next_carry = carry._replace(states=states)
        return tf.nest.map_structure(to_float32, outputs), next_carry

    def __call__(
        self, batch: Batch, carry: Tree = (), training: bool = True
    ) -> tuple[Tensor, Tree, Tree]:
        return total_loss(self.terms(batch, carry, training))

    def score(self, metric: Any, batch: Batch, outputs: Tree) -> None:
        """Update a Keras metric by what counts in the loss, with the weights of the examples if it is `weighted`.

        Args:
            metric: of the run.
            batch: the examples.
            outputs: what `terms` gave for them.
        """
        weight = None
        if getattr(metric, "weighted", False):
            weight = self.weights(batch, outputs)
        update_metric(metric, batch.y, self.probabilities(outputs), weight)

    def probabilities(self, outputs: Tree) -> Tree:
        """The outputs as metrics see them: probabilities where the model gives logits."""
        return masked(self.to_metrics(outputs), mask_of(outputs))


def with_mask(loss: Any, y: Tree, outputs: Tree) -> Tree:
    """Return outputs with a mask of what counts in the loss, where the model or the loss hides any of it.

    Args:
        loss: that of the run.
        y: the targets.
        outputs: those of the model.
    """
    with masks_given(loss) as masks:
        loss(y, outputs)
    return _hide_masked(outputs, masks)


@contextmanager
def masks_given(loss: Any) -> Iterator[list[Tensor]]:
    """The masks that a Keras loss gives with what it computes, while this lasts; it then leaves out what they hide."""
    masks: list[Tensor] = []
    is_keras = isinstance(loss, keras.losses.Loss)
    if not is_keras or type(loss).__call__ is not keras.losses.Loss.__call__:
        yield masks
        return

    def recording_call(loss: Any) -> Callable:
        call = loss.call

        @functools.wraps(call)
        def record_mask(y: Tree, outputs: Tree) -> Tensor:
            values = call(y, outputs)
            mask = mask_of(values)
            if mask is not None:
                masks.append(mask)
            return values

        return record_mask

    with patched_attribute([loss], recording_call):
        yield masks


def to_float32(output: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    if output.dtype not in (tf.float16, tf.bfloat16):
        return output
    return masked(tf.cast(output, tf.float32), mask_of(output))


def _hide_masked(outputs: Tree, masks: list[Tensor]) -> Tree:
    """The outputs with what the last of the masks hides hidden too."""
    if not masks or not tf.is_tensor(outputs):
        return outputs
    return masked(tf.identity(outputs), both(mask_of(outputs), masks[-1]))


def _zeros_like(outputs: Tensor, rows: Tensor) -> Tensor:
    """Zeros of the shape of outputs, which are not computed for it where the rest of their shape is known."""
    inner = outputs.shape[1:].as_list()
    if None in inner:
        shape = tf.shape(outputs)
    else:
        shape = tf.stack([rows, *inner])
    return tf.ensure_shape(tf.zeros(shape), outputs.shape)


def _of_rank(count: Tensor, rank: int) -> Tensor:
    """With axes of length 1 behind its own."""
    new_axes = [tf.newaxis] * (rank - count.shape.rank)
    return count[(..., *new_axes)]


def _row_count(batch: Batch) -> Tensor:
    leaf = tf.nest.flatten(batch.x)[0]
    return tf.shape(leaf)[0]
