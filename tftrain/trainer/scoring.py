"""The loss and the metrics of a config, fitted to the data and to what the model gives, and tried on a sample."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from tftrain.config.arguments import takes_targets
from tftrain.config.component import Component
from tftrain.config.error_context import error_context
from tftrain.config.logged import metric_labels
from tftrain.config.logits import logits_clash, output_activation
from tftrain.config.loss_kinds import AUTO, loss_kind
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core.objective import KerasObjective, broadcast_weights, unchanged
from tftrain.core.types import Tree
from tftrain.models import losses, metrics
from tftrain.models.alignment import (
    aligned,
    aligning,
    are_columns,
    expect_no_pairs,
)
from tftrain.models.endings import Ending, read_ending
from tftrain.runtime.errors import InputError
from tftrain.trainer.user_code import expect, try_score

if TYPE_CHECKING:
    from tftrain.data.loader import Data


class OpenedLoss(NamedTuple):
    """A loss, what turns outputs into what metrics see, and the rank of the loss before it is reduced."""

    loss: Callable
    to_metrics: Callable[[Tree], Tree]
    rank: int | None


def labelled(config: Config, data: Data) -> Data:
    """Return the data with integer targets as labels or as numbers, as the loss takes them.

    Args:
        config: that of the run.
        data: the splits.
    """
    part = config.loss
    with error_context(part, "loss"):
        if data.integer_range is not None and losses.takes_labels(
            part.target, data.facts, data.integer_range
        ):
            facts = losses.per_step_labels(data.facts, data.integer_range)
            data = data._replace(facts=facts, label_range=data.integer_range)
        if (
            data.label_range is None
            or data.facts.classes is None
            or losses.is_one_hot(data.facts)
        ):
            return data
        if part.target == AUTO:
            positions = math.prod(data.facts.target_shape)
            losses.expect_classes(
                data.label_range, data.train.examples * positions
            )
    if losses.are_numbers(part.target, data.facts, data.label_range):
        return data._replace(
            facts=data.facts._replace(classes=None), label_range=None
        )
    return data


def tell_whole_numbers(config: Config, data: Data) -> None:
    """Warn that whole-number targets are no class labels to the loss, where they could be.

    Args:
        config: that of the run.
        data: the splits.
    """
    part = config.loss
    if data.label_range is None or not losses.are_numbers(
        part.target, data.facts, data.label_range
    ):
        return
    low, high = data.label_range
    warnings.warn(
        f"the targets are whole numbers from {low} to {high}; {part.name} compares numbers, so they are taken as "
        "floats, and not as class labels",
        stacklevel=2,
    )


def open_loss(
    config: Config, data: Data, model: keras.Model, outputs: tf.Tensor
) -> OpenedLoss:
    """Build the loss, and try it on the sample.

    Args:
        config: that of the run.
        data: the splits.
        model: that of the run.
        outputs: for the sample.
    """
    part, sample = config.loss, data.sample
    takes_logits = "from_logits" in part.arguments or part.target == AUTO
    ending = Ending(logits=False)
    if takes_logits or data.facts.classes or losses.are_zero_or_one(sample.y):
        ending = read_ending(
            model, sample.x, outputs, output_activation(config.model)
        )
    from_logits = _from_logits(config, data, ending, takes_logits)
    _expect_ranked(config, ending)
    if "from_logits" in part.arguments:
        part = dataclasses.replace(
            part, given=part.given | {"from_logits": from_logits}
        )
    with error_context(part, "loss"):
        if takes_targets(part.target):
            loss = losses.FunctionLoss(part.function(), part.arguments)
        else:
            one_hot = losses.is_one_hot(data.facts)
            loss = part.build(
                classes=data.facts.classes,
                one_hot=one_hot,
                from_logits=from_logits,
            )
            expect(loss, Callable, "a keras.losses.Loss")
            loss = losses.by_column(loss, sample.y, outputs)
        _try_loss(loss, part, sample.y, outputs)
        rank = losses.loss_rank(loss, sample.y, outputs)
        _expect_weight_of_numbers(config, data, rank)
        weight = broadcast_weights(sample.weight, rank, outputs)
        loss(
            sample.y, outputs, sample_weight=weight
        )  # one that does not fit is told before training
    return OpenedLoss(
        loss, _to_metrics(config, data, outputs, from_logits), rank
    )


def _expect_weight_of_numbers(
    config: Config, data: Data, rank: int | None
) -> None:
    """Refuse weights of positions where the loss gives a number for each example alone."""
    weight = data.sample.weight
    if weight is not None and rank is not None and weight.ndim > max(rank, 1):
        fault = f"a weight of an example has the shape {list(weight.shape[1:])}"
        expected = f"one for each number that {config.loss.name} gives, which is one for each example"
        raise InputError(
            format_error(
                config.data.source.place,
                "data",
                f"{fault}; expected {expected}",
            )
        )


def _from_logits(
    config: Config, data: Data, ending: Ending, takes_logits: bool
) -> bool:
    """Whether the outputs are logits: as the config says, else as the model's ending tells."""
    part = config.loss
    setting = part.given.get("from_logits", "auto")
    if (
        loss_kind(part.target).of_probabilities
        and not takes_logits
        and ending.logits
        and ending.outside
    ):
        problem = f"{part.name} compares probabilities, but the model's outputs are none: {ending.why}"
        raise InputError(
            format_error(
                part.place,
                "loss",
                f"{problem}; end the model in softmax or sigmoid",
            )
        )
    if setting == "auto":
        used = takes_logits and (part.target != AUTO or data.facts.classes)
        if used and not ending.certain:
            taken = "logits" if ending.logits else "probabilities"
            warnings.warn(
                f"the model does not tell whether it gives logits or probabilities; {ending.why}, so they are taken as "
                f"{taken}: if they are not, name the loss and give it from_logits: {str(not ending.logits).lower()}",
                stacklevel=2,
            )
        return ending.logits
    clash = None
    if ending.activation != "linear" or ending.outside:
        clash = logits_clash(ending.activation, setting)
    is_scaled = (
        loss_kind(part.target).compares == "rows" and not ending.negative
    )  # Keras divides rows by their sum
    if clash is None and setting is False and ending.outside and not is_scaled:
        clash = f"given false, but the model's outputs are no probabilities: {ending.why}; write from_logits: true"
    if clash:
        raise InputError(format_error(part.place, "loss.from_logits", clash))
    return setting


def _expect_ranked(config: Config, ending: Ending) -> None:
    """Refuse metrics that go through thresholds from 0 to 1 where outputs are numbers of any size."""
    if (
        config.metrics == "auto"
        or loss_kind(config.loss.target).compares != "numbers"
        or not ending.logits
    ):
        return
    for part in config.metrics:
        if metrics.ranks(part.target):
            problem = f"{part.name} goes through thresholds from 0 to 1, and beside {config.loss.name} the outputs are "
            problem += "no probabilities; end the model in sigmoid, or write loss: binary_crossentropy"
            raise InputError(format_error(part.place, "metrics", problem))


def _try_loss(
    loss: Callable, part: Component, y: Any, outputs: tf.Tensor
) -> None:
    """A user's loss is tried on the sample; raises TypeError or ValueError."""
    if part.target.startswith(("keras.", "tftrain.")):
        return
    compare, targets = loss, tf.convert_to_tensor(y)
    if (
        isinstance(loss, keras.losses.Loss)
        and type(loss).__call__ is keras.losses.Loss.__call__
    ):
        compare = loss.call
        targets, outputs = (
            tf.cast(targets, loss.dtype),
            tf.cast(outputs, loss.dtype),
        )
    if isinstance(loss, losses.FunctionLoss):
        compare = functools.partial(part.function(), **part.arguments)
        targets, outputs = aligned(targets, outputs)
        try_score(compare, targets, outputs, {})
    expect_no_pairs(compare, targets, outputs)


def _to_metrics(
    config: Config, data: Data, outputs: tf.Tensor, logits: bool
) -> Callable[[Tree], Tree]:
    part, facts = config.loss, data.facts
    kind = loss_kind(part.target)
    axis = part.arguments.get("axis", -1)
    if kind.of_probabilities:
        if kind.compares == "targets" and facts.classes is None:
            return unchanged
        return losses.to_probabilities(
            logits, outputs, axis, binary=kind.compares == "binary"
        )
    if kind.compares != "own":
        return unchanged
    compared = _what_is_compared(config, data, outputs)
    if compared.classes is not None:
        return losses.to_probabilities(
            logits and metrics.are_scores(compared), outputs
        )
    requested = config.metrics if config.metrics != "auto" else []
    if not logits or not any(
        metrics.needs_probabilities(metric.target) for metric in requested
    ):
        return unchanged
    return losses.to_probabilities(
        losses.are_zero_or_one(data.sample.y), outputs, binary=True
    )


def open_metrics(
    config: Config, data: Data, objective: KerasObjective, outputs: tf.Tensor
) -> list:
    """Build new metrics, tried on the sample.

    Args:
        config: that of the run.
        data: the splits.
        objective: the model and its loss.
        outputs: for the sample.


    Raises:
        InputError, UserCodeError: one does not fit.
    """
    compared = _what_is_compared(config, data, outputs)
    if config.metrics == "auto":
        chosen = (
            [Component("metric", "accuracy", metrics.ACCURACY)]
            if metrics.are_scores(compared)
            else []
        )
    else:
        chosen = config.metrics
    opened = []
    for part, label in zip(chosen, metric_labels(chosen), strict=True):
        with error_context(part, "metrics"):
            metric = _open_metric(part, data, compared, objective, outputs)
        metric.name = label  # Keras would number the names of unnamed metrics anew with every object
        opened.append(metric)
    return opened


def _what_is_compared(
    config: Config, data: Data, outputs: tf.Tensor
) -> metrics.Compared:
    facts, compares = data.facts, loss_kind(config.loss.target).compares
    one_hot = losses.is_one_hot(facts)
    return metrics.Compared(
        classes=facts.classes if data.label_range or one_hot else None,
        one_hot=one_hot,
        outputs=outputs.shape[-1] if outputs.shape.rank > 1 else 1,
        binary=losses.are_zero_or_one(data.sample.y),
        apart=one_hot and compares == "binary",
        margins=compares == "margins",
        flat=are_columns(data.sample.y, outputs),
    )


def _open_metric(
    part: Component,
    data: Data,
    compared: metrics.Compared,
    objective: KerasObjective,
    outputs: tf.Tensor,
) -> keras.metrics.Metric:
    """One metric, tried on the sample, so that one which does not fit the targets is told before training."""
    seen = objective.probabilities(outputs)
    is_own = not part.target.startswith(("keras.", "tftrain."))
    if takes_targets(part.target):
        metric = keras.metrics.MeanMetricWrapper(_user_score(part, data, seen))
    else:
        if part.target == metrics.ACCURACY:
            metrics.expect_scores(compared)
        metric = part.build(outputs=compared.outputs, one_hot=compared.one_hot)
        expect(metric, keras.metrics.Metric, "a keras.metrics.Metric")
    if (
        part.target.startswith("keras.")
        or part.target == metrics.ACCURACY
        and (compared.margins or compared.flat)
    ):
        metric = metrics.fitted(metric, compared)
    metric.weighted = bool(part.option("weighted"))
    objective.score(metric, data.sample, outputs)
    metric.reset_state()
    if is_own and not takes_targets(part.target):
        expect_no_pairs(
            metric.update_state, tf.convert_to_tensor(data.sample.y), seen
        )
    return metric


def _user_score(part: Component, data: Data, outputs: Any) -> Callable:
    """A user's function (y_true, y_pred) as a metric calls it; raises TypeError or ValueError where it does not fit."""
    function = functools.partial(part.function(), **part.call_arguments())
    is_number = data.facts.classes is None and data.facts.target_shape in (
        (),
        (1,),
    )

    def compare(y_true: Any, y_pred: Any) -> Any:
        return function(
            tf.cast(y_true, y_pred.dtype) if is_number else y_true, y_pred
        )

    y = tf.convert_to_tensor(data.sample.y)
    score = aligning(compare, y, outputs)
    try_score(score, y, outputs, {})
    expect_no_pairs(score, y, outputs)
    return score
