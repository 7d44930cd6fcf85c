"""The loss and the metrics of a model over one pass of a feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, Feed, Objective, Tensor


def make_evaluation(objective: Objective, metrics: Sequence[Any], feed: Feed) -> Callable[[], dict[str, float]]:
    """A function that gives `loss`, the mean over all examples, and the value of each metric; nothing is trained.

    The metrics belong to the evaluation: they must not be those of a training run.
    """

    def add(batch: Batch) -> tuple[Tensor, Tensor]:
        loss, outputs, _ = objective(batch, training=False)
        for metric in metrics:
            metric.update_state(batch.y, objective.probabilities(outputs), sample_weight=batch.weight)
        examples = tf.cast(tf.shape(tf.nest.flatten(batch.x)[0])[0], tf.float64)
        return tf.cast(loss, tf.float64) * examples, examples

    @tf.function(input_signature=[feed.signature, tf.TensorSpec([], tf.int32)], autograph=False)
    def chunk(handle, count):
        def body(index, total, examples):
            loss, size = add(feed.batch(handle, index))
            return index + 1, total + loss, examples + size

        zero = tf.constant(0.0, tf.float64)
        _, total, examples = tf.while_loop(
            lambda index, *_: index < count, body, (0, zero, zero), parallel_iterations=1
        )
        return total, examples

    def evaluate() -> dict[str, float]:
        for metric in metrics:
            metric.reset_state()
        step, total, examples = 0, 0.0, 0.0
        while step < feed.steps_per_epoch:
            count = min(feed.run_length(step), feed.steps_per_epoch - step)
            loss, size = chunk(feed.serve(step, count), count)
            step, total, examples = step + count, total + float(loss), examples + float(size)
        return {"loss": total / examples} | metric_values(metrics)

    return evaluate


def metric_values(metrics: Sequence[Any]) -> dict[str, float]:
    """The value of each Keras metric by its name; one with a value for each class gives `name/0`, `name/1`, ..."""
    return named_results([metric.name for metric in metrics], metric_results(metrics))


def metric_results(metrics: Sequence[Any]) -> list[Any]:
    return [metric.result() for metric in metrics]


def named_results(names: Sequence[str], results: Sequence[Any]) -> dict[str, float]:
    """The value of each metric by its name, from their results as numbers or arrays."""
    values = {}
    for name, result in zip(names, map(np.asarray, results), strict=True):
        labels = [name] if result.ndim == 0 else [f"{name}/{index}" for index in range(result.size)]
        values |= dict(zip(labels, result.ravel().tolist(), strict=True))
    return values
