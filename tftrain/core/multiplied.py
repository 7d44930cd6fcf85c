"""A multiple of an objective."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrain.core.types import Batch, Objective, Tensor, Tree


class Multiplied:
    """An objective whose loss is multiplied, and its gradients with it."""

    def __init__(self, inner: Objective, factor: Tensor):
        self._inner, self._factor = inner, factor

    def __call__(self, batch: Batch, carry: Tree = (), training: bool = True) -> tuple[Tensor, Tree, Tree]:
        loss, outputs, carry = self._inner(batch, carry, training)
        return loss * tf.cast(self._factor, loss.dtype), outputs, carry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
