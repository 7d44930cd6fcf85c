"""Whether a model gives logits or probabilities: by what makes its outputs, else by their values for a few examples."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tftrain.config.field_types import PROBABILITIES
from tftrain.core.types import Tensor, Tree
from tftrain.models.spans import Span, span_of

EXACT_SUM = 1e-3  # how far from 1 a row of float16 probabilities may sum
_ROUNDING = 1e-6  # of float32, beyond 0 and 1


class Ending(NamedTuple):
    """What a model ends in.

    `activation` is its last one, 'linear' for none, None where it is not known. `certain` says that the outputs cannot
    be read in the other way, and `why` what was seen, as the end of a sentence about them.
    """

    logits: bool
    activation: str | None = None
    certain: bool = True
    why: str = ""
    outside: bool = False  # whether values beyond 0 and 1 were seen
    negative: bool = False  # whether some of these were below 0


def read_ending(
    model: keras.Model, x: Tree, outputs: Tensor, known: str | None = None
) -> Ending:
    """Tell logits from probabilities.

    Args:
        model: The built model; it is traced, and not changed.
        x: The features of a few examples, [examples, ...].
        outputs: What the model gives for them.
        known: The last activation, where the config tells it.
    """
    if known in PROBABILITIES:
        return Ending(False, known)
    span = _output_span(model, x)
    if span.activation:
        return Ending(False, span.activation)
    values = outputs.numpy()
    low, high = float(values.min()), float(values.max())
    seen = f"for the first {len(values)} examples they lie between {low:.3g} and {high:.3g}"
    negative = low < -_ROUNDING
    outside = negative or high > 1 + EXACT_SUM
    if known == "linear" or span.weighted:
        return Ending(
            True, "linear", why=seen, outside=outside, negative=negative
        )
    if outside:
        return Ending(True, why=seen, outside=True, negative=negative)
    if span.within(-_ROUNDING, 1 + _ROUNDING) or _sum_to_one(values):
        return Ending(False, why=seen)
    if span.exact and np.isfinite([span.low, span.high]).all():
        return Ending(
            True,
            certain=False,
            why=f"they can lie anywhere between {span.low:.3g} and {span.high:.3g}",
        )
    return Ending(not values.any(), certain=False, why=seen)


def _output_span(model: keras.Model, x: Tree) -> Span:
    """Unbounded where the model cannot be traced by itself."""
    try:
        traced = tf.function(
            lambda inputs: model(inputs, training=False), autograph=False
        )
        (output,) = traced.get_concrete_function(
            tf.nest.map_structure(tf.convert_to_tensor, x)
        ).outputs
    except (
        Exception
    ):  # a user's model may raise whatever it likes; its values tell as well
        return Span()
    return span_of(output)


def _sum_to_one(values: np.ndarray) -> bool:
    """Whether the last axis holds a distribution over several classes."""
    if values.ndim < 2 or values.shape[-1] < 2:
        return False
    return bool(
        (np.abs(values.sum(-1, dtype=np.float64) - 1) < EXACT_SUM).all()
    )
