"""How what the layers add to the loss goes with the batch, asked of them by passes of a few examples.

Keras' activity regularizers are means over the examples, while a layer's own `add_loss` may be a sum over them, or join
them in another way. No layer tells which.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.loss_owners import Kind, Owner, loss_owners
from tftrain.core.types import Tree
from tftrain.core.variables import preserve_state

# Examples of a pass, and how many of them its first piece has: uneven, so that means are weighted.
_ROWS = 8
_FIRST = 3
_TOLERANCE = 1e-3  # of float32 values summed in another order
_HALF_TOLERANCE = 2e-2  # of those of half precision
_DRAWS = 16  # passes that are averaged where layers draw random numbers
# Of such averages; a sum of twice the examples is twice as large.
_DRAWN_TOLERANCE = 0.2


def ask_penalties(model: keras.Model, x: Tree) -> dict[Owner, Kind]:
    """Find out of each loss that the model's layers add how it goes with the examples of a batch.

    One that is the same for any batch is a "mean" too. What is zero, or not finite, is asked of other weights; where
    that does not tell either, it is taken for a mean.

    Args:
        model: a built model.
        x: some examples of its inputs, [batch, ...].
    """
    with preserve_state(model), replication.first_of(model.variables[0].value):
        model(
            tf.nest.map_structure(
                lambda leaf: tf.convert_to_tensor(leaf[:1]), x
            ),
            training=True,
        )
        owners = loss_owners(model)
        if not owners:
            return {}
        rows = tf.nest.map_structure(lambda leaf: _tile_rows(leaf, _ROWS), x)
        open_kinds: dict[Owner, set] = {
            owner: {"mean", "sum"} for owner in owners
        }
        for training in (False, True):
            for moved in (False, True):
                if any(len(kinds) > 1 for kinds in open_kinds.values()):
                    _narrow_kinds(
                        open_kinds, _Passes(model, training, moved), rows
                    )
    return {owner: _single_kind(kinds) for owner, kinds in open_kinds.items()}


def _single_kind(kinds: set) -> Kind:
    if not kinds:
        return "neither"
    return "mean" if "mean" in kinds else "sum"


class _Passes:
    """Passes of the model that change nothing of it, with its weights as they are or moved from there."""

    def __init__(self, model: keras.Model, training: bool, moved: bool):
        self._model = model
        self._training = training
        random = np.random.default_rng(0)
        variables = model.variables
        self._values = [
            (
                variable,
                _moved_value(variable, random) if moved else variable.value,
            )
            for variable in variables
        ]

    def losses(self, x: Tree, draw: int = 0) -> dict[Owner, float]:
        """What the layers add to the loss for these examples; another draw has other random numbers."""
        values = [
            (variable, _redraw_state(variable, value, draw))
            for variable, value in self._values
        ]
        with keras.StatelessScope(values, collect_losses=True):
            self._model(x, training=self._training)
            owners = loss_owners(self._model)
            losses = [float(loss) for loss in self._model.losses]
        # Regularizers of weights come last, and have no owner.
        return dict(zip(owners, losses, strict=False))


def _moved_value(variable: Any, random: np.random.Generator) -> Any:
    """Other values that a weight could have; those that are never negative, such as variances, stay so."""
    value = variable.value.numpy()
    if not tf.as_dtype(value.dtype).is_floating:
        return variable.value
    factor = random.uniform(0.5, 1.5, value.shape)
    offset = random.uniform(0, 0.05, value.shape)
    return tf.cast(value * factor + offset, variable.dtype)


def _redraw_state(variable: Any, value: Any, draw: int) -> Any:
    is_integer = tf.as_dtype(variable.dtype).is_integer
    is_seed = is_integer and "seed_generator" in variable.path
    if not is_seed or not draw:
        return value
    return tf.convert_to_tensor(value) + tf.cast(draw, variable.dtype)


def _narrow_kinds(
    open_kinds: dict[Owner, set], passes: _Passes, x: Tree
) -> None:
    """Take from the kinds of each loss those that do not fit what these passes give."""
    losses = passes.losses(x)
    again = passes.losses(x, draw=1)
    first = passes.losses(_take_rows(x, slice(_FIRST)))
    second = passes.losses(_take_rows(x, slice(_FIRST, _ROWS)))
    twice = tf.nest.map_structure(lambda leaf: tf.concat([leaf, leaf], 0), x)
    averages = None
    for owner, loss in losses.items():
        # Some losses are added in training alone, and are not among the open ones.
        if len(open_kinds.get(owner, ())) <= 1:
            continue
        if _differs_clearly(loss, again[owner]):
            if averages is None:
                averages = (
                    _average_losses(passes, x),
                    _average_losses(passes, twice),
                )
            once_average, twice_average = averages
            fits = _fits_drawn(once_average[owner], twice_average[owner])
        else:
            tolerance = _tolerance_of(passes)
            fits = _fitting_kinds(loss, first[owner], second[owner], tolerance)
        if fits is not None:
            open_kinds[owner] &= fits


def _take_rows(x: Tree, rows: slice) -> Tree:
    return tf.nest.map_structure(lambda leaf: leaf[rows], x)


def _tolerance_of(passes: _Passes) -> float:
    half = any(
        layer.compute_dtype in ("float16", "bfloat16")
        for layer in passes._model._flatten_layers()
    )
    return _HALF_TOLERANCE if half else _TOLERANCE


def _fitting_kinds(
    loss: float, first: float, second: float, tolerance: float
) -> set | None:
    """The kinds that a loss of a batch and of its two pieces fits; None where it does not tell."""
    if not np.isfinite([loss, first, second]).all() or not any(
        (loss, first, second)
    ):
        return None
    mean = (_FIRST * first + (_ROWS - _FIRST) * second) / _ROWS
    total = first + second
    margin = max(abs(loss), abs(first), abs(second)) * tolerance
    kinds = set()
    if abs(loss - mean) <= margin:
        kinds.add("mean")
    if abs(loss - total) <= margin:
        kinds.add("sum")
    return kinds


def _fits_drawn(once: float, twice: float) -> set | None:
    """The kinds that averages over many draws fit, of a batch and of one with each example twice."""
    if not np.isfinite([once, twice]).all() or not once:
        return None
    ratio = twice / once
    kinds = set()
    if abs(ratio - 1) <= _DRAWN_TOLERANCE:
        kinds.add("mean")
    if abs(ratio / 2 - 1) <= _DRAWN_TOLERANCE:
        kinds.add("sum")
    return kinds


def _differs_clearly(value: float, reference: float) -> bool:
    return (
        not math.isclose(value, reference, rel_tol=1e-5, abs_tol=1e-12)
        and math.isfinite(value)
        and math.isfinite(reference)
    )


def _average_losses(passes: _Passes, x: Tree) -> dict[Owner, float]:
    draws = [passes.losses(x, draw) for draw in range(_DRAWS)]
    averages = {}
    for owner in draws[0]:
        values = [losses[owner] for losses in draws]
        averages[owner] = float(np.mean(values))
    return averages


def _tile_rows(leaf: Any, rows: int) -> tf.Tensor:
    """As many rows of the leaf, from its first on again where it has fewer."""
    return tf.gather(leaf, np.arange(rows) % len(leaf))
