"""Deeds that a graph does or leaves, as its numbers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tftrain.core.types import Tensor


def once(flag: Tensor, action: Callable[..., Any], *values: Any) -> Any:
    """`action(*values)` where the flag is set, else the values themselves; an action without values gives nothing.

    A loop of at most one turn and not a tf.cond, which the serial executor hands to another thread and waits for: some
    100 microseconds, as long as a small model's step.
    """

    def turn(_: Tensor, *values: Any) -> tuple:
        found = action(*values)
        return (False, *found) if values else (False,)

    return tf.while_loop(lambda pending, *_: pending, turn, (flag, *values), parallel_iterations=1)[1:]
