"""Clips of a user's own."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.numerics import stored_values, with_values
from tftrain.core.types import Transform


def shrink(by: float = 0.5, *, names):
    """Makes every gradient smaller, and tells for how many parameters, and how often it did."""

    def update(grads, state, params):
        smaller = [
            with_values(grad, stored_values(grad) * by) for grad in grads
        ]
        return (
            smaller,
            state + 1,
            {"parameters": tf.constant(len(names)), "calls": state + 1},
        )

    return Transform(lambda params: tf.constant(0), update)


def choosy(only: int = 2):
    """Has an argument that every other clip has too, and means something else by it."""
    return Transform(
        lambda params: (),
        lambda grads, state, params: (
            [grad / only for grad in grads],
            state,
            {},
        ),
    )


def forgetful():
    """Returns nothing."""


def short():
    """Loses the state."""
    return Transform(
        lambda params: (), lambda grads, state, params: (grads, {})
    )


def losing():
    """Loses all gradients but the first."""
    return Transform(
        lambda params: (), lambda grads, state, params: (grads[:1], state, {})
    )


def raising():
    def update(grads, state, params):
        return [grad * (1 / len(state)) for grad in grads], state, {}

    return Transform(lambda params: (), update)
