"""Gradients by differences of the loss, which needs no derivative and takes a forward pass or two for each number."""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tftrain.config.field_types import PositiveFloat
from tftrain.core.numerics import gradient_dtype
from tftrain.core.types import (
    Batch,
    GradientMethod,
    LossAndGrads,
    Objective,
    Tensor,
    Tree,
)
from tftrain.optim.gradients.method_traits import method_traits

# Near the cube root and the square root of the rounding error, where its share and that of the curvature are alike;
# powers of two, which most parameters can be moved by without rounding.
_CENTRAL = {tf.float32: 2.0**-8, tf.float64: 2.0**-17}
_FORWARD = {tf.float32: 2.0**-12, tf.float64: 2.0**-26}


@method_traits(
    compares_passes=True, has_backward_pass=False, synchronizes_passes=False
)
def numeric(
    sided: Literal["central", "forward"] = "central",
    step: PositiveFloat | Literal["auto"] = "auto",
) -> GradientMethod:
    """Moves one element of the parameters after the other by `step`, and divides the change of the loss by it.

    An element w above 1 is moved by `step` times |w|, for a large number is not changed by a small one.
    The error is of the order of step^2 where the differences are central, (f(w + step) - f(w - step)) / 2 step, and of
    the order of step where they are one-sided, (f(w + step) - f(w)) / step; a step too small drowns in rounding errors.
    All passes of a batch draw the same dropout masks. How many there are is printed first.

    Args:
        sided: `central` differences, whose error is of the order of step^2, or `forward` ones, of the order of
            step.
        step: how far an element is moved; `auto` for the best of its type.
    """
    if step != "auto" and step < (
        smallest := float(np.finfo(keras.config.floatx()).eps)
    ):
        kind = keras.config.floatx()
        raise ValueError(
            f"step: given {step:g}, which changes no {kind} of 1; expected at least {smallest:.2g}"
        )
    reported: set[int] = (
        set()
    )  # a run is traced more than once, and should be told once

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        elements = FlatParameters(objective)
        sides = 2 if sided == "central" else 1
        if elements.count not in reported:
            reported.add(elements.count)
            passes = f"{sides} x {elements.count:,} parameters = {sides * elements.count:,} forward passes"
            print(f"numeric: {passes} of the batch for each step", flush=True)
        size = (
            auto_step(sided, elements.values.dtype) if step == "auto" else step
        )
        places, size = (
            tf.range(elements.count),
            size * tf.maximum(tf.abs(elements.values), 1),
        )
        up, above = losses_at(elements, places, size, (batch, carry))
        if sided == "central":
            down, below = losses_at(elements, places, -size, (batch, carry))
        # Only now, for it moves averages and seeds on, and the passes above are to see what this one sees.
        loss, outputs, carry = objective(batch, carry)
        if sided == "forward":
            down, below = elements.values, tf.cast(loss, above.dtype)
        return LossAndGrads(
            loss, elements.split((above - below) / (up - down)), outputs, carry
        )

    return evaluate


def auto_step(sided: Literal["central", "forward"], dtype: tf.DType) -> float:
    """Return the step with the least error, between truncation and rounding.

    Args:
        sided: `central` or `forward`.
        dtype: that of the parameters.
    """
    return (_CENTRAL if sided == "central" else _FORWARD)[dtype]


def losses_at(
    elements: FlatParameters,
    places: Tensor,
    step: float | Tensor,
    arguments: tuple[Batch, Tree],
) -> tuple[Tensor, Tensor]:
    """Return some elements moved by a step, and the loss with each moved alone.

    Args:
        elements: all parameters as one vector.
        places: indices in it, [places].
        step: one for all, or [places].
        arguments: the batch and the carry.
    """
    moved = tf.gather(elements.values, places) + tf.cast(
        step, elements.values.dtype
    )

    def loss(pair: tuple[Tensor, Tensor]) -> Tensor:
        place, value = pair
        return elements.loss(
            tf.tensor_scatter_nd_update(elements.values, [[place]], [value]),
            *arguments,
        )

    kind = tf.TensorSpec([], elements.values.dtype)
    return moved, tf.map_fn(
        loss, (places, moved), fn_output_signature=kind, parallel_iterations=1
    )


class FlatParameters:
    """All parameters of an objective behind one another, [elements], in the type of gradients; `sizes` is of each."""

    def __init__(self, objective: Objective):
        self._objective, self._params = objective, objective.params
        self.sizes = [param.shape.num_elements() for param in self._params]
        self.count = sum(self.sizes)
        self.values = tf.concat(
            [
                tf.reshape(tf.cast(param, gradient_dtype()), [-1])
                for param in self._params
            ],
            0,
        )

    def loss(self, values: Tensor, batch: Batch, carry: Tree) -> Tensor:
        """Return the loss of a batch with other values; the pass leaves no trace in the model.

        Args:
            values: of all elements.
            batch: the examples.
            carry: the states of recurrent layers before the batch.
        """
        pairs = zip(self.split(values), self._params, strict=True)
        with self._objective.at(
            [tf.cast(value, param.dtype) for value, param in pairs]
        ):
            return tf.cast(self._objective(batch, carry)[0], gradient_dtype())

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector of all elements as a tensor for each parameter."""
        parts = tf.split(vector, self.sizes)
        return [
            tf.reshape(part, param.shape)
            for part, param in zip(parts, self._params, strict=True)
        ]
