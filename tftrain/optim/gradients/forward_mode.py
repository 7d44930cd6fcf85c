"""Gradients by forward-mode differentiation, which follows the change of one number through the model at a time."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import (
    Batch,
    GradientMethod,
    LossAndGrads,
    Objective,
    Tensor,
    Tree,
)
from tftrain.optim.gradients.finite_difference import FlatParameters
from tftrain.optim.gradients.method_traits import method_traits

TANGENTS = 32  # at once: so many forward passes are held in memory


@method_traits(
    compares_passes=True, has_backward_pass=False, synchronizes_passes=False
)
def forward() -> GradientMethod:
    """The exact gradient, from one tangent for each element of the parameters, 32 of them at a time.

    A tangent says how fast all that the model computes changes with one element (Wengert, 1964), so the cost grows with
    the number of parameters, where that of `backprop` does not. Recurrent layers are unrolled: a loop in the graph has
    no forward mode. All tangents of a batch see the same dropout masks.
    """

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        elements = FlatParameters(objective)

        def slope(place: Tensor) -> Tensor:
            tangent = tf.one_hot(
                place, elements.count, dtype=elements.values.dtype
            )
            with (
                objective.unrolled(),
                tf.autodiff.ForwardAccumulator(
                    elements.values, tangent
                ) as accumulator,
            ):
                loss = elements.loss(elements.values, batch, carry)
            derivatives = accumulator.jvp(loss)
            return (
                tf.zeros([], tangent.dtype)
                if derivatives is None
                else derivatives
            )

        def slopes(places: Tensor) -> Tensor:
            return tf.vectorized_map(slope, places)

        width = min(TANGENTS, elements.count)
        chunks = -(-elements.count // width)
        places = tf.reshape(
            tf.range(chunks * width), [chunks, width]
        )  # those behind the last have tangents of zeros
        kind = tf.TensorSpec([width], elements.values.dtype)
        derivatives = tf.map_fn(
            slopes, places, fn_output_signature=kind, parallel_iterations=1
        )
        # Only now, for it moves averages and seeds on, and the passes above are to see what this one sees.
        loss, outputs, carry = objective(batch, carry)
        return LossAndGrads(
            loss,
            elements.split(tf.reshape(derivatives, [-1])[: elements.count]),
            outputs,
            carry,
        )

    return evaluate
