"""A multiple of an objective, and its share in that of a larger batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tftrain.core.types import Batch, LossTerms, Objective, Tensor, Tree


class Share(NamedTuple):
    """What a piece is of a whole batch: its part of what counts in the loss, and of the examples.

    `present` is 1, or 0 for a piece whose examples do not count at all.
    """

    mass: Tensor
    examples: Tensor
    present: Tensor | float = 1.0


class ScaledObjective:
    """An objective whose loss is multiplied, and its gradients with it."""

    def __init__(self, inner: Objective, factor: Tensor):
        self._inner = inner
        self._loss = self._penalties = self._sums = factor

    def terms(
        self, batch: Batch, carry: Tree = (), training: bool = True
    ) -> LossTerms:
        """Return the terms of the objective, multiplied.

        Args:
            batch: the examples.
            carry: the states of recurrent layers before the batch.
            training: whether the model is called in training mode.
        """
        terms = self._inner.terms(batch, carry, training)
        return terms._replace(
            loss=_times(terms.loss, self._loss),
            penalties=[
                _times(penalty, self._penalties) for penalty in terms.penalties
            ],
            sums=[_times(penalty, self._sums) for penalty in terms.sums],
        )

    def __call__(
        self, batch: Batch, carry: Tree = (), training: bool = True
    ) -> tuple[Tensor, Tree, Tree]:
        return total_loss(self.terms(batch, carry, training))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Portion(ScaledObjective):
    """The objective of a piece of a batch, such that those of all pieces add up to that of the whole."""

    def __init__(self, inner: Objective, share: Share):
        self._inner = inner
        self._loss = share.present if inner.adds_up else share.mass
        self._penalties, self._sums = share.examples, share.present


def total_loss(terms: LossTerms) -> tuple[Tensor, Tree, Tree]:
    """The loss with all that is added to it, the outputs and the carry."""
    return (
        tf.add_n([terms.loss, *terms.penalties, *terms.sums]),
        terms.outputs,
        terms.carry,
    )


def _times(value: Tensor, factor: Tensor | float) -> Tensor:
    return value * tf.cast(factor, value.dtype)
