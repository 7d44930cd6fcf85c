"""Targets and outputs of one rank, as Keras gives them to a loss function; and what goes wrong where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tftrain.core.types import Tensor

_ROWS = 1009  # examples of a trace: a prime that is no other axis' length
Compare = Callable[[Tensor, Tensor], Any]


def aligned(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return targets and outputs with the same rank, where one has a last axis of length 1 more; as Keras' losses do.

    Of [n] and [n, 1] both become [n, 1]; of [n, time] and [n, time, 1] both become [n, time].

    Args:
        y: the targets.
        outputs: those of the model.
    """
    ranks = len(y.shape), len(outputs.shape)
    if ranks[0] == ranks[1] + 1 and y.shape[-1] == 1:
        if ranks[1] == 1:
            return y, outputs[..., tf.newaxis]
        return tf.squeeze(y, -1), outputs
    if ranks[1] == ranks[0] + 1 and outputs.shape[-1] == 1:
        if ranks[0] == 1:
            return y[..., tf.newaxis], outputs
        return y, tf.squeeze(outputs, -1)
    return y, outputs


def are_columns(y: Tensor, outputs: Tensor) -> bool:
    """Return whether there is an output for each target, but no last axis of length 1 in both.

    Args:
        y: the targets.
        outputs: those of the model.
    """
    ranks = len(y.shape), len(outputs.shape)
    return (
        ranks[1] == 1
        or ranks[1] > 2
        and ranks[0] == ranks[1] - 1
        and outputs.shape[-1] == 1
    )


def columns(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return both with a last axis of length 1: outputs [n] as [n, 1], and targets of the shape of the outputs.

    Args:
        y: the targets.
        outputs: those of the model.
    """
    if len(outputs.shape) == 1:
        outputs = outputs[:, tf.newaxis]
    return tf.reshape(y, tf.shape(outputs)), outputs


def expect_no_pairs(compare: Compare, y: Tensor, outputs: Tensor) -> None:
    """Refuse a function that compares each target with the outputs of every example, by an oversight.

    That is what broadcasting makes of [n] and [n, 1]. A function that does so with targets of either shape means it.

    Args:
        compare: a loss or metric of the user's.
        y: the targets.
        outputs: those of the model.


    Raises:
        ValueError: it does so with these shapes, and would not with others of the same numbers.
    """
    alternatives = [aligned(y, outputs)]
    if len(y.shape) > 1 and y.shape[-1] == 1:
        alternatives.append((tf.squeeze(y, -1), outputs))
    alternatives = [
        alternative
        for alternative in alternatives
        if _shapes_of(*alternative) != _shapes_of(y, outputs)
    ]
    if not alternatives or _compares_pairs(compare, y, outputs) is False:
        return
    if any(
        _compares_pairs(compare, *alternative) is False for alternative in alternatives
    ):
        targets, output_shape = (list(part.shape) for part in (y, outputs))
        raise ValueError(
            f"is given targets of the shape {targets} and outputs of the shape {output_shape}, and compares each "
            "target with the outputs of all examples, for these shapes broadcast; bring both to one shape in it, such "
            "as y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred))"
        )


def aligning(compare: Compare, y: Tensor, outputs: Tensor) -> Compare:
    """Return a function, or where it broadcasts targets and outputs by an oversight one that aligns them first.

    Args:
        compare: a loss or metric of the user's.
        y: the targets.
        outputs: those of the model.
    """
    if (
        _compares_pairs(compare, y, outputs) is False
        or _compares_pairs(compare, *aligned(y, outputs)) is not False
    ):
        return compare
    return lambda y_true, y_pred, **arguments: compare(
        *aligned(y_true, y_pred), **arguments
    )


def _shapes_of(*tensors: Tensor) -> list:
    return [tuple(tensor.shape) for tensor in tensors]


def _compares_pairs(compare: Compare, y: Tensor, outputs: Tensor) -> bool | None:
    """Whether values for pairs of examples come up on the way, [n, n]; None where it cannot be traced."""
    specs = [
        tf.TensorSpec((_ROWS, *part.shape[1:]), part.dtype) for part in (y, outputs)
    ]

    def trace(y_true: Tensor, y_pred: Tensor) -> int:
        compare(y_true, y_pred)
        return 0

    try:
        graph = tf.function(trace, autograph=False).get_concrete_function(*specs).graph
    except Exception:  # a user's function may raise whatever it likes; trying it on the sample tells of that
        return None
    shapes = [
        tensor.shape
        for operation in graph.get_operations()
        for tensor in operation.outputs
    ]
    return any(
        shape.rank is not None and shape.as_list().count(_ROWS) > 1 for shape in shapes
    )
