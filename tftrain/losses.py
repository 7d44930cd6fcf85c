"""Losses chosen by the targets, and how a model's outputs, its loss and the targets fit together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core.types import Facts, Tree
from tftrain.values import PROBABILITIES

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight")  # of which pieces make the whole
_ALIKE = 1e-3  # of a loss of an example alone and among others; half precision is cast before
EXACT_SUM = 1e-3  # how far from 1 a row of float16 probabilities may sum


def auto(*, classes: int | None, one_hot: bool, from_logits: bool) -> keras.losses.Loss:
    """Cross-entropy where the targets are classes, the mean squared error where they are numbers."""
    if classes is None:
        return keras.losses.MeanSquaredError()
    if one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


class FunctionLoss(keras.losses.Loss):
    """A function (y_true, y_pred, ...) as a loss, averaged over the examples."""

    def __init__(self, function: Callable, arguments: dict[str, Any]):
        super().__init__(name=function.__name__)
        self._function, self._arguments = function, arguments

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.convert_to_tensor(self._function(y_true, y_pred, **self._arguments))


def rank_of(loss: Any, y: Any, outputs: Any) -> int | None:
    """The rank of what a loss gives before it is reduced: 1 for a number for each example, 2 for one at each time step.

    0 where an example's number is not its own, such as one number for all; None where a loss, being no Keras loss or
    reduced in a way of its own, does not tell.
    """
    if not isinstance(loss, keras.losses.Loss) or type(loss).__call__ is not keras.losses.Loss.__call__:
        return None
    given = [tf.nest.map_structure(lambda x: keras.ops.convert_to_tensor(x, loss.dtype), one) for one in (y, outputs)]
    whole = np.asarray(loss.call(*given))
    first = np.asarray(loss.call(*tf.nest.map_structure(lambda x: x[:1], given)))
    alone = first.shape == (1, *whole.shape[1:]) and np.allclose(
        whole[:1], first, rtol=_ALIKE, atol=_ALIKE, equal_nan=True
    )
    return whole.ndim if whole.ndim and len(whole) == len(tf.nest.flatten(outputs)[0]) and alone else 0


def is_one_hot(facts: Facts) -> bool:
    return facts.classes is not None and facts.target_shape == (facts.classes,) and not facts.by_position


def takes_labels(loss: str, facts: Facts, integers: tuple[int, int]) -> bool:
    """Whether integer targets of many values are labels.

    A loss can say so; one that goes by the targets takes one of three and more for each time step of the input as such.
    """
    if loss != "tftrain.losses:auto":
        return "SparseCategorical" in loss
    steps = facts.input_shape[:1] if isinstance(facts.input_shape, tuple) and len(facts.input_shape) == 2 else None
    return facts.target_shape == steps and integers[0] >= 0 and integers[1] > 1


def by_position(facts: Facts, integers: tuple[int, int]) -> Facts:
    """Facts in which integer targets of many values are labels, from the lowest and the highest.

    Raises:
        ValueError: there are no two labels, counted from 0.
    """
    low, high = integers
    if low < 0 or high < 1:
        raise ValueError(f"its labels are counted from 0, and the targets go from {low} to {high}")
    return facts._replace(classes=high + 1, by_position=True)


def outputs_needed(loss: str, facts: Facts) -> int:
    """How many values a model should give for each example; `loss` is the target of its part.

    Raises:
        ValueError: the loss compares single numbers, and the targets are more than two classes; or the other way round.
    """
    if "SparseCategorical" in loss and facts.classes is None:
        raise ValueError("needs labels, and the targets are floats; give labels as whole numbers, such as int64")
    if facts.classes is None or is_one_hot(facts):
        return max(1, math.prod(facts.target_shape))
    if not loss.startswith("keras.") or "Categorical" in loss:
        return facts.classes
    if facts.classes > 2:
        raise ValueError(
            f"compares numbers, but the targets are labels of {facts.classes} classes; use "
            "sparse_categorical_crossentropy, or turn the labels into rows by preprocess: one_hot"
        )
    return 1


def shape_needed(outputs: int, facts: Facts) -> tuple[int, ...]:
    """The shape that outputs of one example should have: `outputs`, at each position where the targets have several."""
    if facts.by_position:
        return (*facts.target_shape, outputs)
    return facts.target_shape if len(facts.target_shape) > 1 else (outputs,)


def misfit(loss: str, shape: tuple, facts: Facts) -> str | None:
    """What is wrong where outputs of this shape cannot be compared with the targets; shapes without the batch axis."""
    if facts.classes is not None and not is_one_hot(facts) and outputs_needed(loss, facts) > 1:
        if not shape or shape[-1] < facts.classes:
            return f"gives outputs of shape {list(shape)}, but the labels go from 0 to {facts.classes - 1}"
        positions = facts.target_shape if facts.by_position else ()
        if shape[:-1] != positions and loss.startswith(("keras.", "tftrain.")):
            return f"gives outputs of shape {list(shape)}, but the labels need {[*positions, facts.classes]}"
        return None
    squeezed = [size for size in shape if size != 1]
    if squeezed != [size for size in facts.target_shape if size != 1]:
        hint = "; for a label at each position there is loss: sparse_categorical_crossentropy, with integer targets"
        said = f"gives outputs of shape {list(shape)}, but the targets have the shape {list(facts.target_shape)}"
        return said + (hint if shape[:-1] == facts.target_shape != () else "")
    return None


def ending(model: keras.Model, outputs: Any) -> str | None:
    """The activation a model ends in, 'linear' for none; None where it cannot be known."""
    found = _last_activation(model)
    if found is None and outputs.shape.rank >= 2 and outputs.shape[-1] > 1:
        sums = tf.reduce_sum(outputs, -1)  # a subclassed model does not tell, its outputs do
        if tf.reduce_all(outputs >= 0) and tf.reduce_all(tf.abs(sums - 1) < EXACT_SUM):
            return "softmax"
    return found


def gives_probabilities(ending: str | None) -> bool:
    return ending in PROBABILITIES


def to_probabilities(loss: str, from_logits: bool, outputs: Any, classes: int | None) -> Callable[[Tree], Tree]:
    """What turns a model's outputs into what metrics expect."""
    if not from_logits or not _is_crossentropy(loss, classes):
        return lambda found: found
    return tf.nn.sigmoid if "Binary" in loss or outputs.shape[-1] == 1 else tf.nn.softmax


def _is_crossentropy(loss: str, classes: int | None) -> bool:
    return "Crossentropy" in loss or (loss == "tftrain.losses:auto" and classes is not None)


def _last_activation(model: keras.Model) -> str | None:
    while (
        hasattr(model, "inputs") and model.layers
    ):  # a subclassed model has neither symbolic inputs nor an order of layers
        last = model.layers[-1]
        if isinstance(last, keras.layers.Softmax):
            return "softmax"
        if not isinstance(last, keras.Model):
            return getattr(getattr(last, "activation", None), "__name__", None)
        model = last
    return None
