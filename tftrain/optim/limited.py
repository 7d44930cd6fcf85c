"""A transform of some of the parameters."""

from __future__ import annotations

from collections.abc import Sequence

from tftrain.core.types import Transform
from tftrain.optim.measured import measured


def limited(transform: Transform, indices: Sequence[int]) -> Transform:
    """The transform for the parameters at `indices` alone, which is all that it sees; its norms are over them.

    The gradients of the others pass by.
    """
    transform = measured(transform)

    def init(params):
        return transform.init([params[index] for index in indices])

    def update(grads, state, params):
        chosen, theirs = [grads[index] for index in indices], [params[index] for index in indices]
        changed, state, told = transform.update(chosen, state, theirs)
        by_index = dict(zip(indices, changed, strict=True))
        return [by_index.get(index, grad) for index, grad in enumerate(grads)], state, told

    return Transform(init, update)
