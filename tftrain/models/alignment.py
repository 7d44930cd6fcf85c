"""Targets and outputs of one rank, as Keras gives them to a loss function; and what goes wrong where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tftrain.core.types import Tensor

# How many examples a trace has: a prime, which is no other axis' length.
_ROWS = 1009
Compare = Callable[[Tensor, Tensor], Any]


def aligned(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return targets and outputs with the same rank, where one has a last axis of length 1 more; as Keras' losses do.

    Of [n] and [n, 1] both become [n, 1]; of [n, time] and [n, time, 1] both become [n, time].

    Args:
        y: the targets.
        outputs: those of the model.
    """
    target_rank = len(y.shape)
    output_rank = len(outputs.shape)
    if target_rank == output_rank + 1 and y.shape[-1] == 1:
        if output_rank == 1:
            return y, outputs[..., tf.newaxis]
        return tf.squeeze(y, -1), outputs
    if output_rank == target_rank + 1 and outputs.shape[-1] == 1:
        if target_rank == 1:
            return y[..., tf.newaxis], outputs
        return y, tf.squeeze(outputs, -1)
    return y, outputs


def are_columns(y: Tensor, outputs: Tensor) -> bool:
    """Return whether there is an output for each target, but no last axis of length 1 in both.

    Args:
        y: the targets.
        outputs: those of the model.
    """
    output_rank = len(outputs.shape)
    if output_rank <= 2:
        return output_rank == 1
    return len(y.shape) == output_rank - 1 and outputs.shape[-1] == 1


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
    shapes = _shapes_of(y, outputs)
    alternatives = [
        pair for pair in alternatives if _shapes_of(*pair) != shapes
    ]
    if not alternatives or _compares_pairs(compare, y, outputs) is False:
        return
    if any(_compares_pairs(compare, *pair) is False for pair in alternatives):
        raise ValueError(
            f"is given targets of the shape {list(y.shape)} and outputs of the shape {list(outputs.shape)}, and "
            "compares each target with the outputs of all examples, for these shapes broadcast; "
            "bring both to one shape in it, such as y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred))"
        )


def aligning(compare: Compare, y: Tensor, outputs: Tensor) -> Compare:
    """Return a function, or where it broadcasts targets and outputs by an oversight one that aligns them first.

    Args:
        compare: a loss or metric of the user's.
        y: the targets.
        outputs: those of the model.
    """
    if _compares_pairs(compare, y, outputs) is False:
        return compare
    if _compares_pairs(compare, *aligned(y, outputs)) is not False:
        return compare

    def compare_aligned(
        y_true: Tensor, y_pred: Tensor, **arguments: Any
    ) -> Any:
        y_true, y_pred = aligned(y_true, y_pred)
        return compare(y_true, y_pred, **arguments)

    return compare_aligned


def _shapes_of(*tensors: Tensor) -> list:
    return [tuple(tensor.shape) for tensor in tensors]


def _compares_pairs(
    compare: Compare, y: Tensor, outputs: Tensor
) -> bool | None:
    """Return whether there is an intermediate value for each pair of examples, [n, n]; None if it cannot be traced."""
    specs = [
        tf.TensorSpec((_ROWS, *part.shape[1:]), part.dtype)
        for part in (y, outputs)
    ]

    def trace(y_true: Tensor, y_pred: Tensor) -> int:
        compare(y_true, y_pred)
        return 0

    try:
        traced = tf.function(trace, autograph=False).get_concrete_function(
            *specs
        )
    except Exception:
        # A user's function may raise anything; the error is reported when it is tried on the sample.
        return None
    for operation in traced.graph.get_operations():
        for tensor in operation.outputs:
            shape = tensor.shape
            if shape.rank is not None and shape.as_list().count(_ROWS) > 1:
                return True
    return False
