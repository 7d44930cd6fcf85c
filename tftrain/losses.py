"""Losses and metrics that are chosen by the targets, and the agreement of a loss with the model's last activation."""

from __future__ import annotations

from typing import Any

import keras


def auto(*, classes: int | None, one_hot: bool, from_logits: bool) -> keras.losses.Loss:
    """Cross-entropy where the targets are classes, the mean squared error where they are numbers."""
    if classes is None:
        return keras.losses.MeanSquaredError()
    if one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def accuracy(*, outputs: int, one_hot: bool) -> keras.metrics.Metric:
    """The share of examples whose class is right: binary, sparse or one-hot as the targets are."""
    if outputs == 1:
        return keras.metrics.BinaryAccuracy(name="accuracy")
    if one_hot:
        return keras.metrics.CategoricalAccuracy(name="accuracy")
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def last_activation(model: keras.Model) -> str | None:
    """The name of what acts last in the model, 'linear' for logits; None where it cannot be known."""
    layers = list(model.layers)
    while layers and isinstance(layers[-1], keras.Model):
        layers = list(layers[-1].layers)
    if not layers or not isinstance(model, (keras.Sequential, keras.Functional)):
        return None
    last = layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    function: Any = getattr(last, "activation", None)
    return getattr(function, "__name__", None)
