"""What a loss compares: class labels, rows, a yes or no, or numbers."""

from __future__ import annotations

import functools
import inspect
from typing import NamedTuple

from tftrain.config import importing
from tftrain.runtime.errors import ImportPathError

AUTO = "tftrain.models.losses:auto"


class LossKind(NamedTuple):
    """What a loss expects of targets and outputs.

    `compares` is 'targets' for the loss that goes by them, 'labels' for whole numbers that name a class, 'rows' for
    those of one value for each class, 'binary' for 0 and 1, 'margins' for a sign, 'numbers' for those of a regression,
    and 'own' where it cannot be known. `of_probabilities` says that these are what it takes, and not logits, unless it
    is told by `from_logits`.
    """

    compares: str
    of_probabilities: bool = False
    keras: bool = True


_OWN = LossKind("own", keras=False)
_KINDS = {
    **dict.fromkeys(
        ("SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy"),
        LossKind("labels", True),
    ),
    **dict.fromkeys(
        ("CategoricalCrossentropy", "CategoricalFocalCrossentropy"),
        LossKind("rows", True),
    ),
    "CategoricalHinge": LossKind("rows"),
    "KLDivergence": LossKind("binary", True),
    **dict.fromkeys(
        ("BinaryCrossentropy", "BinaryFocalCrossentropy", "Dice", "Tversky"),
        LossKind("binary", True),
    ),
    **dict.fromkeys(("Hinge", "SquaredHinge"), LossKind("margins")),
    **dict.fromkeys(
        (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "MeanAbsolutePercentageError",
        ),
        LossKind("numbers"),
    ),
    **dict.fromkeys(
        ("MeanSquaredLogarithmicError", "Huber", "LogCosh", "Poisson"),
        LossKind("numbers"),
    ),
}


@functools.cache
def loss_kind(target: str) -> LossKind:
    """The kind of the loss that a part names by `target`; a user's class is of the kind of Keras' class above it."""
    if target == AUTO:
        return LossKind("targets", True)
    module, _, name = target.partition(":")
    if module == "keras.losses":
        return _KINDS.get(name, LossKind("binary"))
    try:
        loss = importing.import_object(target)
    except ImportPathError:
        return _OWN
    above = inspect.getmro(loss)[1:] if inspect.isclass(loss) else ()
    kinds = [
        _KINDS[base.__name__]
        for base in above
        if base.__module__.startswith("keras.") and base.__name__ in _KINDS
    ]
    return kinds[0]._replace(keras=False) if kinds else _OWN
