"""Metrics of what counts in the loss."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tftrain.core.masks import mask_of, with_mask
from tftrain.core.types import Tensor, Tree

# Means of a figure of each output by itself. Other metrics compare whole rows, such as the largest of each.
_BY_OUTPUT = (
    keras.metrics.BinaryAccuracy,
    keras.metrics.BinaryCrossentropy,
    keras.metrics.MeanSquaredError,
    keras.metrics.MeanAbsoluteError,
    keras.metrics.MeanAbsolutePercentageError,
    keras.metrics.MeanSquaredLogarithmicError,
)


def update_metric(
    metric: Any, y: Tensor, outputs: Tree, weight: Tensor | None = None
) -> None:
    """Update a Keras metric without what the mask of the outputs hides.

    Only Keras' means of a function know masks; others of its metrics get the mask as weights. A user's own class is
    given what Keras would give it: outputs with the mask, and the weights.

    Args:
        metric: a `keras.metrics.Metric`, or one that has another as its `metric`.
        y: the targets.
        outputs: what the model gave, [batch, ..., outputs]; its mask is of the first axes, or of all.
        weight: of the examples or of each number of the loss, [batch, ...], if they have any.
    """
    mask = mask_of(outputs)
    inner = getattr(metric, "metric", metric)
    if mask is not None and _hides_single_outputs(mask, outputs):
        mask, y, outputs, weight = _by_output(inner, mask, y, outputs, weight)
    if mask is not None and _takes_weights_alone(inner):
        if weight is None:
            # An IoU counts in whole numbers.
            weight = tf.cast(mask, inner.dtype)
        else:
            expanded = _with_rank(weight, mask.shape.rank)
            weight = tf.cast(mask, weight.dtype) * expanded
    metric.update_state(y, outputs, sample_weight=weight)


def _hides_single_outputs(mask: Tensor, outputs: Tensor) -> bool:
    return mask.shape.rank == outputs.shape.rank and outputs.shape[-1] != 1


def _takes_weights_alone(metric: Any) -> bool:
    of_keras = type(metric).__module__.startswith("keras.")
    return of_keras and not isinstance(metric, keras.metrics.MeanMetricWrapper)


def _by_output(
    metric: Any, mask: Tensor, y: Tensor, outputs: Tensor, weight: Tensor | None
) -> tuple:
    """The same with a mask that the metric can take, where it hides single outputs of a row.

    A metric of rows counts those of which anything counts.
    """
    if _takes_weights_alone(metric) and not isinstance(
        metric, keras.metrics.Mean
    ):
        return mask, y, outputs, weight
    if isinstance(metric, _BY_OUTPUT) and y.shape.rank == outputs.shape.rank:
        if weight is not None:
            expanded = _with_rank(weight, mask.shape.rank)
            weight = tf.reshape(expanded * tf.ones_like(outputs), [-1])
        mask = tf.reshape(mask, [-1])
        rows = with_mask(tf.reshape(outputs, [-1, 1]), mask)
        targets = tf.reshape(y, [-1, 1])
        return mask, targets, rows, weight
    mask = tf.reduce_any(tf.cast(mask, tf.bool), -1)
    rows = with_mask(tf.identity(outputs), mask)
    return mask, y, rows, weight


def _with_rank(weight: Tensor, rank: int) -> Tensor:
    new_axes = [tf.newaxis] * (rank - weight.shape.rank)
    return weight[(..., *new_axes)]
