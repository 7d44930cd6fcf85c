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

_ROWS, _FIRST = (
    8,
    3,
)  # examples of a pass, and how many of them its first piece has: uneven, so that means are weighted
_TOLERANCE = 1e-3  # of float32 values summed in another order
_HALF_TOLERANCE = 2e-2  # of those of half precision
_DRAWS = 16  # passes that are averaged where layers draw random numbers
_DRAWN_TOLERANCE = (
    0.2  # of such averages; a sum of twice the examples is twice as large
)


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
            tf.nest.map_structure(lambda leaf: tf.convert_to_tensor(leaf[:1]), x),
            training=True,
        )
        owners = loss_owners(model)
        if not owners:
            return {}
        rows = tf.nest.map_structure(lambda leaf: _tile_rows(leaf, _ROWS), x)
        open_kinds: dict[Owner, set] = {owner: {"mean", "sum"} for owner in owners}
        for training in (False, True):
            for moved in (False, True):
                if any(len(kinds) > 1 for kinds in open_kinds.values()):
                    _narrow_kinds(open_kinds, _Passes(model, training, moved), rows)
    return {owner: _single_kind(kinds) for owner, kinds in open_kinds.items()}


def _single_kind(kinds: set) -> Kind:
    if not kinds:
        return "neither"
    return "mean" if "mean" in kinds else "sum"


class _Passes:
    """Passes of the model that change nothing of it, with its weights as they are or moved from there."""

    def __init__(self, model: keras.Model, training: bool, moved: bool):
        self._model, self._training = model, training
        random = np.random.default_rng(0)
        variables = model.variables
        self._values = [
            (variable, _moved_value(variable, random) if moved else variable.value)
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
            return dict(
                zip(
                    loss_owners(self._model),
                    map(float, self._model.losses),
                    strict=False,
                )
            )


def _moved_value(variable: Any, random: np.random.Generator) -> Any:
    """Other values that a weight could have; those that are never negative, such as variances, stay so."""
    value = variable.value.numpy()
    if not tf.as_dtype(value.dtype).is_floating:
        return variable.value
    value = value * random.uniform(0.5, 1.5, value.shape) + random.uniform(
        0, 0.05, value.shape
    )
    return tf.cast(value, variable.dtype)


def _redraw_state(variable: Any, value: Any, draw: int) -> Any:
    is_seed = (
        "seed_generator" in variable.path and tf.as_dtype(variable.dtype).is_integer
    )
    return (
        tf.convert_to_tensor(value) + tf.cast(draw, variable.dtype)
        if is_seed and draw
        else value
    )


def _narrow_kinds(open_kinds: dict[Owner, set], passes: _Passes, x: Tree) -> None:
    """Take from the kinds of each loss those that do not fit what these passes give."""
    losses, again = passes.losses(x), passes.losses(x, draw=1)
    first, second = (
        passes.losses(_take_rows(x, rows))
        for rows in (slice(_FIRST), slice(_FIRST, _ROWS))
    )
    twice = tf.nest.map_structure(lambda leaf: tf.concat([leaf, leaf], 0), x)
    averages = None
    for owner in [
        owner for owner in losses if len(open_kinds.get(owner, ())) > 1
    ]:  # some are added in training alone
        if _differs_clearly(losses[owner], again[owner]):
            averages = averages or (
                _average_losses(passes, x),
                _average_losses(passes, twice),
            )
            fits = _fits_drawn(averages[0][owner], averages[1][owner])
        else:
            fits = _fitting_kinds(
                losses[owner], first[owner], second[owner], _tolerance_of(passes)
            )
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
    if not np.isfinite([loss, first, second]).all() or not any((loss, first, second)):
        return None
    mean, total = (_FIRST * first + (_ROWS - _FIRST) * second) / _ROWS, first + second
    size = max(abs(loss), abs(first), abs(second)) * tolerance
    return {
        kind
        for kind, value in (("mean", mean), ("sum", total))
        if abs(loss - value) <= size
    }


def _fits_drawn(once: float, twice: float) -> set | None:
    """The kinds that averages over many draws fit, of a batch and of one with each example twice."""
    if not np.isfinite([once, twice]).all() or not once:
        return None
    ratio = twice / once
    return {
        kind
        for kind, value in (("mean", 1), ("sum", 2))
        if abs(ratio / value - 1) <= _DRAWN_TOLERANCE
    }


def _differs_clearly(value: float, reference: float) -> bool:
    return (
        not math.isclose(value, reference, rel_tol=1e-5, abs_tol=1e-12)
        and math.isfinite(value)
        and math.isfinite(reference)
    )


def _average_losses(passes: _Passes, x: Tree) -> dict[Owner, float]:
    draws = [passes.losses(x, draw) for draw in range(_DRAWS)]
    return {
        owner: float(np.mean([losses[owner] for losses in draws])) for owner in draws[0]
    }


def _tile_rows(leaf: Any, rows: int) -> tf.Tensor:
    """As many rows of the leaf, from its first on again where it has fewer."""
    return tf.gather(leaf, np.arange(rows) % len(leaf))
