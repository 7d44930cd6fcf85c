"""Metrics: the accuracy that fits the targets, and targets in the form that each Keras metric compares with."""

from __future__ import annotations

from typing import Any

import keras

# These compare class labels; every other metric of Keras compares rows, and some, given labels, are silently wrong.
_TAKE_LABELS = ("Sparse", "IoU", "MeanIoU")


def accuracy(*, outputs: int, one_hot: bool) -> keras.metrics.Metric:
    """The share of examples whose class is right: binary, sparse or one-hot as the targets are."""
    if outputs == 1:
        return keras.metrics.BinaryAccuracy()
    return keras.metrics.CategoricalAccuracy() if one_hot else keras.metrics.SparseCategoricalAccuracy()


def for_labels(metric: keras.metrics.Metric, outputs: int) -> keras.metrics.Metric:
    """A metric of Keras that can be given class labels."""
    return metric if type(metric).__name__.startswith(_TAKE_LABELS) else OnRows(metric, outputs)


class OnRows(keras.metrics.Metric):
    """A metric that gets labels as one-hot rows of the outputs' shape, or as a column where there is one output."""

    def __init__(self, metric: keras.metrics.Metric, outputs: int):
        super().__init__(name=metric.name)
        self.metric, self._outputs = metric, outputs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self._outputs == 1:
            rows = keras.ops.reshape(y_true, (-1, 1))
        else:
            labels = keras.ops.reshape(y_true, keras.ops.shape(y_pred)[:-1])
            rows = keras.ops.one_hot(keras.ops.cast(labels, "int32"), self._outputs)
        self.metric.update_state(rows, y_pred, sample_weight=sample_weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()
