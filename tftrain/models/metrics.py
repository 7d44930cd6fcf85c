"""Metrics: the accuracy that fits the targets, and targets and outputs in the form that each Keras metric compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tftrain.core.masks import mask_of, with_mask
from tftrain.core.types import Tensor
from tftrain.models.alignment import columns

ACCURACY = "tftrain.models.metrics:accuracy"

# These compare a yes or no with a probability; of two classes, class 1 is the yes.
_BINARY = (
    *(
        keras.metrics.AUC,
        keras.metrics.Precision,
        keras.metrics.Recall,
        keras.metrics.BinaryAccuracy,
    ),
    *(
        keras.metrics.TruePositives,
        keras.metrics.TrueNegatives,
        keras.metrics.FalsePositives,
    ),
    *(
        keras.metrics.FalseNegatives,
        keras.metrics.SensitivityAtSpecificity,
        keras.metrics.SpecificityAtSensitivity,
    ),
    *(
        keras.metrics.PrecisionAtRecall,
        keras.metrics.RecallAtPrecision,
        keras.metrics.FBetaScore,
    ),
    *(keras.metrics.BinaryCrossentropy, keras.metrics.BinaryIoU),
)
_RANKING = (
    "AUC",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "PrecisionAtRecall",
    "RecallAtPrecision",
)
# By these a config asks for several classes, or for another one.
_CHOICES = ("class_id", "top_k", "average", "multi_label")
_OF_ROWS = (
    keras.metrics.CosineSimilarity,
    keras.metrics.KLDivergence,
)  # sums over the last axis
_ROWS = (
    keras.metrics.OneHotIoU,
    keras.metrics.OneHotMeanIoU,
    keras.metrics.BinaryIoU,
)
Form = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Compared(NamedTuple):
    """What metrics compare.

    `classes` is the number of classes that exclude each other, None where there are none; `one_hot` whether targets are
    rows of them, and not labels; `outputs` the length of the outputs' last axis; `binary` whether targets of no classes
    are 0 or 1; `apart` whether the loss takes each value of a row as a yes or no of its own; `margins` whether outputs
    are those of a hinge loss, of which 0 is between no and yes; `flat` whether outputs are [n], or [n, time, 1] beside
    targets [n, time].
    """

    classes: int | None
    one_hot: bool
    outputs: int
    binary: bool = False
    apart: bool = False
    margins: bool = False
    flat: bool = False


def accuracy(*, outputs: int, one_hot: bool) -> keras.metrics.Metric:
    """The share of examples whose class is right: binary, sparse or one-hot as the targets are.

    Args:
        outputs: how many values the model gives.
        one_hot: whether the targets are rows.
    """
    if outputs == 1:
        return keras.metrics.BinaryAccuracy()
    return (
        keras.metrics.CategoricalAccuracy()
        if one_hot
        else keras.metrics.SparseCategoricalAccuracy()
    )


def are_scores(compared: Compared) -> bool:
    """Whether there is an output for each class, or one for two classes."""
    if compared.classes is None:
        return False
    return (
        compared.outputs >= compared.classes
        or compared.outputs == 1
        and compared.classes == 2
    )


def expect_scores(compared: Compared) -> None:
    """Refuse accuracy where there are no classes to compare.

    Raises:
        ValueError: the targets are no classes, or the outputs no scores of them.
    """
    if (
        are_scores(compared)
        or compared.classes is None
        and compared.outputs == 1
        and compared.binary
    ):
        return
    if compared.classes is None:
        raise ValueError(
            "compares classes, and the targets are none; where each output is a 0 or 1 of its own, write "
            "binary_accuracy"
        )
    raise ValueError(
        f"compares the scores of {compared.classes} classes, and the model gives {compared.outputs} for each example; "
        "write metrics: [], or a metric of your own"
    )


def needs_probabilities(target: str) -> bool:
    """Whether the part is a metric of Keras that compares a yes or no with a probability."""
    module, _, name = target.partition(":")
    metric = (
        getattr(keras.metrics, name, None)
        if module == "keras.metrics"
        else None
    )
    return (
        target == ACCURACY
        or isinstance(metric, type)
        and issubclass(metric, _BINARY)
    )


def ranks(target: str) -> bool:
    """Whether the part is a metric of Keras that goes through thresholds from 0 to 1, as that of a curve does."""
    module, _, name = target.partition(":")
    return module == "keras.metrics" and name in _RANKING


def fitted(
    metric: keras.metrics.Metric, compared: Compared
) -> keras.metrics.Metric:
    """Return a Keras metric that is given targets and outputs in the form that it compares.

    Of two classes, a metric of yes or no is about class 1, unless it was made for another class or for several. Labels
    of classes are one-hot rows for all that compare rows.

    Args:
        metric: of the run.
        compared: what targets and outputs are.


    Raises:
        ValueError: it counts fewer classes than there are, and would leave the others out in silence.
    """
    _expect_all_classes(metric, compared)
    form = _adapter_for(metric, compared)
    if compared.margins and isinstance(metric, _BINARY):
        form = _of_margins(form)
    if compared.flat and not isinstance(metric, _OF_ROWS):
        form = _of_columns(form)
    return metric if form is None else Fitted(metric, form)


def _expect_all_classes(
    metric: keras.metrics.Metric, compared: Compared
) -> None:
    if not isinstance(metric, keras.metrics.IoU) or compared.classes is None:
        return
    is_last_ignored = metric.ignore_class == compared.classes - 1
    needed = compared.classes - is_last_ignored
    if metric.num_classes < needed:
        raise ValueError(
            f"counts {metric.num_classes} classes, and the targets are of {needed}; num_classes: {needed}"
        )


class Fitted(keras.metrics.Metric):
    """A metric that is given targets and outputs in another form."""

    def __init__(self, metric: keras.metrics.Metric, form: Form):
        super().__init__(name=metric.name)
        self.metric, self._adapter_for = metric, form

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Count a batch.

        Args:
            y_true: the targets.
            y_pred: the outputs.
            sample_weight: of the examples.
        """
        rows, outputs = self._adapter_for(y_true, y_pred)
        self.metric.update_state(
            rows,
            with_mask(outputs, mask_of(y_pred)),
            sample_weight=sample_weight,
        )

    def result(self) -> Any:
        """Return the value so far."""
        value = self.metric.result()
        is_single = isinstance(
            self.metric, keras.metrics.FBetaScore
        ) and value.shape == (1,)
        return value[0] if is_single else value

    def reset_state(self) -> None:
        """Start again."""
        self.metric.reset_state()


def _adapter_for(
    metric: keras.metrics.Metric, compared: Compared
) -> Form | None:
    """How a metric is given targets and outputs; None for as they are."""
    classes, one_hot, outputs = (
        compared.classes,
        compared.one_hot,
        compared.outputs,
    )
    if isinstance(metric, keras.metrics.IoU) and not isinstance(metric, _ROWS):
        return _classes_form(metric, compared)
    chosen = any(
        getattr(metric, choice, None) not in (None, False)
        for choice in _CHOICES
    )
    is_score = isinstance(metric, keras.metrics.FBetaScore)
    is_second_class = (
        classes == 2
        and not compared.apart
        or outputs == 1
        and (is_score or compared.binary)
    )
    if isinstance(metric, _BINARY) and not chosen and is_second_class:
        if is_score and metric.threshold is None:
            metric.threshold = 0.5  # the larger of two probabilities, for there is no other output to compare with
        return _second_class(one_hot)
    if (
        is_score
        and metric.threshold is None
        and classes is None
        and compared.binary
    ):
        metric.threshold = (
            0.5  # outputs that are each a yes or no have no largest
        )
    if classes is None or one_hot or type(metric).__name__.startswith("Sparse"):
        return None
    if outputs > 1:
        return _as_rows(outputs)
    return (
        _both_classes if isinstance(metric, _BINARY) and chosen else _as_columns
    )


def _classes_form(
    metric: keras.metrics.Metric, compared: Compared
) -> Form | None:
    """For a metric of the classes themselves, which are the places of the largest outputs."""
    if compared.classes is None:
        return None
    metric.sparse_y_true = not compared.one_hot
    metric.sparse_y_pred = compared.outputs == 1
    if compared.outputs > 1:
        return None
    return lambda y, outputs: (y, keras.ops.cast(outputs > 0.5, "int32"))


def _second_class(one_hot: bool) -> Form:
    """Columns of the 0 or 1 of targets and of the probability of class 1."""

    def form(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        column = outputs[..., -1:]
        targets = y[..., -1:] if one_hot else y
        return keras.ops.reshape(targets, keras.ops.shape(column)), column

    return form


def _as_columns(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    return keras.ops.reshape(y, keras.ops.shape(outputs)), outputs


def _as_rows(classes: int) -> Form:
    """Labels as one-hot rows of the outputs' length."""

    def form(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        labels = keras.ops.reshape(y, keras.ops.shape(outputs)[:-1])
        return keras.ops.one_hot(
            keras.ops.cast(labels, "int32"), classes
        ), outputs

    return form


def _both_classes(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of both classes, of which there is the probability of class 1 alone."""
    columns = keras.ops.concatenate([1 - outputs, outputs], -1)
    return _as_rows(2)(y, columns)


def _of_margins(form: Form | None) -> Form:
    """A form for margins as probabilities: 0 is one half."""

    def scaled(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = keras.ops.sigmoid(outputs)
        return (y, probabilities) if form is None else form(y, probabilities)

    return scaled


def _of_columns(form: Form | None) -> Form:
    """A form for an output of each target, where Keras would take all examples or time steps for one row."""

    def column(y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        rows = columns(y, outputs)
        return rows if form is None else form(*rows)

    return column
