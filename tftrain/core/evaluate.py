"""The loss and the metrics of a model over one pass of a feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrain.core.types import Batch, BatchSource, Objective, Tensor


def make_eval_fn(
    objective: Objective,
    metrics: Sequence[Any],
    feed: BatchSource,
    batch_size: int | None = None,
    max_batches: int | None = None,
) -> Callable[[], dict[str, float]]:
    """Return a function that evaluates the loss and the metrics over a split; nothing is trained.

    The loss is that of all examples in one batch: the mean over what counts in it (`objective.masses`), and penalties
    as a mean over the examples. What is a sum over the examples of a batch is that of `batch_size` of them, as in
    training, or of all where none is given. The metrics belong to the evaluation: they must not be those of a training
    run. A pass ends after `max_batches`, where that is given.

    Args:
        objective: the model and its loss.
        metrics: Keras metrics of the evaluation, not those of training.
        feed: the batches.
        batch_size: that of training.
        max_batches: after which a pass ends; None for all.

    Returns:
        A function without arguments; it returns `loss` and the value of each metric by name.
    """
    size = float(batch_size or feed.examples)

    def add_batch(batch: Batch) -> Tensor:
        terms = objective.terms(batch, training=False)
        for metric in metrics:
            objective.score(metric, batch, terms.outputs)
        masses = tf.cast(objective.masses(batch, terms.outputs), tf.float64)
        mass, examples = (
            tf.reduce_sum(masses),
            tf.cast(tf.size(masses), tf.float64),
        )
        loss, penalties, sums = (
            _sum_values(values)
            for values in ([terms.loss], terms.penalties, terms.sums)
        )
        means = (
            [loss * size, examples]
            if objective.adds_up
            else [loss * mass, mass]
        )
        return tf.stack([*means, penalties * examples + sums * size, examples])

    @tf.function(
        input_signature=[feed.signature, tf.TensorSpec([], tf.int32)],
        autograph=False,
    )
    def add_batches(handle, count):
        def add_one(index, sums):
            return index + 1, sums + add_batch(feed.batch(handle, index))

        start = (0, tf.zeros([4], tf.float64))
        return tf.while_loop(
            lambda index, _: index < count,
            add_one,
            start,
            parallel_iterations=1,
        )[1]

    batches = (
        feed.steps_per_epoch
        if max_batches is None
        else min(max_batches, feed.steps_per_epoch)
    )

    def evaluate() -> dict[str, float]:
        add_batches.get_concrete_function()  # traced by a call, TensorFlow would warn of it in a process of many runs
        for metric in metrics:
            metric.reset_state()
        step, sums = 0, np.zeros(4)
        while step < batches:
            count = min(feed.run_length(step), batches - step)
            step, sums = (
                step + count,
                sums + add_batches(feed.serve(step, count), count).numpy(),
            )
        loss, mass, penalties, examples = sums.tolist()
        # Where nothing counts, Keras' losses are 0.
        return {
            "loss": (loss / mass if mass else 0.0) + penalties / examples
        } | metric_values(metrics)

    return evaluate


def _sum_values(values: Sequence[Tensor]) -> Tensor:
    return tf.add_n(
        [
            tf.zeros([], tf.float64),
            *(tf.cast(value, tf.float64) for value in values),
        ]
    )


def metric_values(metrics: Sequence[Any]) -> dict[str, float]:
    """The value of each Keras metric by its name; one with a value for each class gives `name/0`, `name/1`, ..."""
    return named_results(
        [metric.name for metric in metrics], metric_results(metrics)
    )


def metric_results(metrics: Sequence[Any]) -> list[Any]:
    """Return the results of Keras metrics, as tensors in a graph."""
    return [metric.result() for metric in metrics]


def named_results(
    names: Sequence[str], results: Sequence[Any]
) -> dict[str, float]:
    """Return the value of each metric by its name.

    Args:
        names: those of the metrics.
        results: their results, numbers or arrays.
    """
    values = {}
    for name, result in zip(names, map(np.asarray, results), strict=True):
        labels = (
            [name]
            if result.ndim == 0
            else [f"{name}/{index}" for index in range(result.size)]
        )
        values |= dict(zip(labels, result.ravel().tolist(), strict=True))
    return values
