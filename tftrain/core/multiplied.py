"""A multiple of an objective."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrain.core.types import Batch, Objective, Tensor, Terms, Tree


class Multiplied:
    """An objective whose loss is multiplied, and its gradients with it; its penalties by another factor, if given."""

    def __init__(self, inner: Objective, factor: Tensor, of_penalties: Tensor | None = None):
        self._inner, self._factor = inner, factor
        self._of_penalties = factor if of_penalties is None else of_penalties

    def terms(self, batch: Batch, carry: Tree = (), training: bool = True) -> Terms:
        found = self._inner.terms(batch, carry, training)
        penalties = [penalty * tf.cast(self._of_penalties, penalty.dtype) for penalty in found.penalties]
        return found._replace(loss=found.loss * tf.cast(self._factor, found.loss.dtype), penalties=penalties)

    def __call__(self, batch: Batch, carry: Tree = (), training: bool = True) -> tuple[Tensor, Tree, Tree]:
        return added(self.terms(batch, carry, training))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def added(terms: Terms) -> tuple[Tensor, Tree, Tree]:
    """The loss with the penalties, the outputs and the carry."""
    return tf.add_n([terms.loss, *terms.penalties]), terms.outputs, terms.carry
