"""Losses chosen by the targets, and how a model's outputs, its loss and the targets fit together."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.config.loss_kinds import LossKind, loss_kind
from tftrain.core.types import DataSpec, Tensor, Tree
from tftrain.models.alignment import aligned, are_columns, columns

REDUCTIONS = (
    "sum_over_batch_size",
    "sum",
    "mean",
    "mean_with_sample_weight",
)  # of which pieces make the whole
_ALIKE = 1e-3  # of a loss of an example alone and among others; half precision is cast before

_ELEMENTWISE = (  # losses of each output by itself, averaged over the last axis
    *(keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy),
    *(
        keras.losses.Hinge,
        keras.losses.SquaredHinge,
        keras.losses.Huber,
        keras.losses.LogCosh,
        keras.losses.Poisson,
    ),
    *(keras.losses.MeanSquaredError, keras.losses.MeanAbsoluteError),
    *(
        keras.losses.MeanAbsolutePercentageError,
        keras.losses.MeanSquaredLogarithmicError,
    ),
)


def auto(
    *, classes: int | None, one_hot: bool, from_logits: bool
) -> keras.losses.Loss:
    """Cross-entropy where the targets are classes, the mean squared error where they are numbers.

    Args:
        classes: how many; None where the targets are numbers.
        one_hot: whether the targets are rows.
        from_logits: whether the outputs are logits.
    """
    if classes is None:
        return keras.losses.MeanSquaredError()
    if one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


class FunctionLoss(keras.losses.Loss):
    """A function (y_true, y_pred, ...) as a loss, averaged over the examples.

    It is given what Keras gives it in `model.fit`: targets as floats, of the same rank as the outputs.
    """

    def __init__(self, function: Callable, arguments: dict[str, Any]):
        super().__init__(name=function.__name__)
        self._function, self._arguments = function, arguments

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example.

        Args:
            y_true: the targets.
            y_pred: the outputs.
        """
        return keras.ops.convert_to_tensor(
            self._function(*aligned(y_true, y_pred), **self._arguments)
        )


class ColumnLoss(keras.losses.Loss):
    """A loss of each output by itself, given targets and outputs as [..., 1], so that it has a number for each.

    Of outputs [n] it would take all examples for one row, and of targets [n, time] all time steps.
    """

    def __init__(self, loss: keras.losses.Loss):
        super().__init__(
            name=loss.name, reduction=loss.reduction, dtype=loss.dtype
        )
        self._loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each output.

        Args:
            y_true: the targets.
            y_pred: the outputs.
        """
        return self._loss.call(*columns(y_true, y_pred))


def by_column(loss: Any, y: Any, outputs: Any) -> Any:
    """Return a loss with a number for each output where there is one for each target; others as they are.

    Args:
        loss: a Keras loss.
        y: targets of a sample.
        outputs: those of the model.
    """
    return (
        ColumnLoss(loss)
        if type(loss) in _ELEMENTWISE and are_columns(y, outputs)
        else loss
    )


def loss_rank(loss: Any, y: Any, outputs: Any) -> int | None:
    """The rank of what a loss gives before it is reduced: 1 for a number for each example, 2 for one at each time step.

    0 where an example's number is not its own, such as one number for all; None where a loss, being no Keras loss or
    reduced in a way of its own, does not tell.

    Args:
        loss: that of the run.
        y: targets of a sample.
        outputs: those of the model.
    """
    if (
        not isinstance(loss, keras.losses.Loss)
        or type(loss).__call__ is not keras.losses.Loss.__call__
    ):
        return None
    tensors = [
        tf.nest.map_structure(
            lambda x: keras.ops.convert_to_tensor(x, loss.dtype), value
        )
        for value in (y, outputs)
    ]
    values = np.asarray(loss.call(*tensors))
    first = np.asarray(
        loss.call(*tf.nest.map_structure(lambda x: x[:1], tensors))
    )
    alone = first.shape == (1, *values.shape[1:]) and np.allclose(
        values[:1], first, rtol=_ALIKE, atol=_ALIKE, equal_nan=True
    )
    return (
        values.ndim
        if values.ndim
        and len(values) == len(tf.nest.flatten(outputs)[0])
        and alone
        else 0
    )


def is_one_hot(facts: DataSpec) -> bool:
    """Return whether the targets are one-hot rows."""
    return (
        facts.classes is not None
        and facts.target_shape == (facts.classes,)
        and not facts.by_position
    )


def takes_labels(loss: str, facts: DataSpec, integers: tuple[int, int]) -> bool:
    """Whether integer targets of many values are labels.

    A loss can say so; one that goes by the targets takes one of three and more for each time step of the input as such.

    Args:
        loss: the target of its component.
        facts: about the data.
        integers: the lowest and the highest target.
    """
    compares = loss_kind(loss).compares
    if compares != "targets":
        return compares == "labels"
    steps = (
        facts.input_shape[:1]
        if isinstance(facts.input_shape, tuple) and len(facts.input_shape) == 2
        else None
    )
    return facts.target_shape == steps and integers[0] >= 0 and integers[1] > 1


def are_numbers(loss: str, facts: DataSpec, labels: tuple[int, int]) -> bool:
    """Return whether whole numbers are targets of a regression, as for its losses all but 0 and 1 are.

    Args:
        loss: the target of its component.
        facts: about the data.
        labels: the lowest and the highest target.
    """
    if facts.classes is None or is_one_hot(facts):
        return False
    return labels[1] > 1 and loss_kind(loss).compares == "numbers"


def expect_classes(labels: tuple[int, int], count: int) -> None:
    """Refuse whole numbers that are no classes, where nothing but the targets tells.

    Args:
        labels: The lowest and the highest target.
        count: How many targets there are to learn from.

    Raises:
        ValueError: there are fewer targets than classes, or more than half of the classes are below the lowest one.
    """
    low, high = labels
    if high < count and low <= high - low + 1:
        return
    raise ValueError(
        f"takes whole-number targets for class labels, and those from {low} to {high} would be labels of {high + 1} "
        f"classes, with {count} training targets; for a regression write loss: mean_squared_error, or give the targets "
        "as floats; for classes write loss: sparse_categorical_crossentropy, or count the labels from 0"
    )


def per_step_labels(facts: DataSpec, integers: tuple[int, int]) -> DataSpec:
    """Return facts in which integer targets of many values are labels.

    Args:
        facts: about the data.
        integers: the lowest and the highest target.


    Raises:
        ValueError: there are no two labels, counted from 0.
    """
    low, high = integers
    if low < 0 or high < 1:
        raise ValueError(
            f"its labels are counted from 0, and the targets go from {low} to {high}"
        )
    positions = facts.target_shape
    if len(positions) > 1 and positions[-1] == 1:
        positions = positions[:-1]
    return facts._replace(
        classes=high + 1, by_position=True, target_shape=positions
    )


def outputs_needed(loss: str, facts: DataSpec) -> int:
    """Return how many values a model should give for each example.

    Args:
        loss: the target of its component.
        facts: about the data.


    Raises:
        ValueError: the loss compares single numbers, and the targets are more than two classes; or the other way round.
    """
    kind = loss_kind(loss)
    if kind.compares == "labels" and facts.classes is None:
        raise ValueError(
            "needs labels, and the targets are floats; give labels as whole numbers, such as int64"
        )
    if facts.classes is None or is_one_hot(facts):
        return max(1, math.prod(facts.target_shape))
    if (
        kind.compares in ("labels", "rows", "targets", "own")
        or not kind.keras
        and facts.classes > 2
    ):
        return facts.classes
    if facts.classes > 2:
        raise ValueError(
            f"compares numbers, but the targets are labels of {facts.classes} classes; use "
            "sparse_categorical_crossentropy, or turn the labels into rows by preprocess: one_hot"
        )
    return 1


def shape_needed(outputs: int, facts: DataSpec) -> tuple[int, ...]:
    """Return the shape that outputs of one example should have.

    Args:
        outputs: how many values, at each position where the targets have several.
        facts: about the data.
    """
    if facts.by_position:
        return (*facts.target_shape, outputs)
    return facts.target_shape if len(facts.target_shape) > 1 else (outputs,)


def output_mismatch(loss: str, shape: tuple, facts: DataSpec) -> str | None:
    """Return what is wrong where outputs cannot be compared with the targets; None where they can.

    What a loss of the user's own compares, it alone knows.

    Args:
        loss: the target of its component.
        shape: of the outputs, without the batch axis.
        facts: about the data.
    """
    kind = loss_kind(loss)
    if not kind.keras:
        return None
    if (
        facts.classes is not None
        and not is_one_hot(facts)
        and outputs_needed(loss, facts) > 1
    ):
        if not shape or shape[-1] < facts.classes:
            label_problem = f"gives outputs of shape {list(shape)}, but the labels go from 0 to {facts.classes - 1}"
            return label_problem + _hint_of_one_output(kind, shape, facts)
        positions = facts.target_shape if facts.by_position else ()
        if shape[:-1] != positions:
            return f"gives outputs of shape {list(shape)}, but the labels need {[*positions, facts.classes]}"
        return None
    squeezed = [size for size in shape if size != 1]
    if squeezed != [size for size in facts.target_shape if size != 1]:
        hint = "; for a label at each position there is loss: sparse_categorical_crossentropy, with integer targets"
        problem = f"gives outputs of shape {list(shape)}, but the targets have the shape {list(facts.target_shape)}"
        return problem + (
            hint if shape[:-1] == facts.target_shape != () else ""
        )
    return None


def _hint_of_one_output(kind: LossKind, shape: tuple, facts: DataSpec) -> str:
    """What goes with a single output, where a loss for several classes does not."""
    if shape != (1,) or kind.compares not in ("targets", "labels"):
        return ""
    if facts.classes == 2:
        return "; write loss: binary_crossentropy for one output, or give the model 2 outputs"
    return f"; give the model {facts.classes} outputs, or for a regression write loss: mean_squared_error"


def to_probabilities(
    logits: bool, outputs: Any, axis: int = -1, *, binary: bool = False
) -> Callable[[Tree], Tree]:
    """What turns a model's outputs into what metrics expect.

    Args:
        logits: Whether the outputs are logits; they stay as they are where not.
        outputs: Those for a few examples.
        axis: The one of the classes.
        binary: Whether each output is a yes or no of its own.
    """
    if not logits:
        return lambda values: values
    if binary or len(outputs.shape) < 2 or outputs.shape[axis] == 1:
        return tf.nn.sigmoid
    return functools.partial(tf.nn.softmax, axis=axis)


def are_zero_or_one(y: Tensor) -> bool:
    """Whether a few targets are all 0 or 1."""
    values = np.asarray(y)
    return bool(np.isin(values, (0, 1)).all())
