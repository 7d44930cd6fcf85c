"""The parameters of a model as one vector of elements, any of which can be changed."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.sparse import gradient_dtype
from tftrain.core.types import Batch, Objective, Tensor, Tree


class Elements:
    """All parameters of an objective behind one another, [elements], in the type of gradients; `sizes` is of each."""

    def __init__(self, objective: Objective):
        self._objective, self._params = objective, objective.params
        self.sizes = [param.shape.num_elements() for param in self._params]
        self.count = sum(self.sizes)
        self.values = tf.concat([tf.reshape(tf.cast(param, gradient_dtype()), [-1]) for param in self._params], 0)

    def loss(self, values: Tensor, batch: Batch, carry: Tree) -> Tensor:
        """The loss of a batch where the elements are `values`; the pass leaves no trace in the model."""
        pairs = zip(self.split(values), self._params, strict=True)
        with self._objective.at([tf.cast(value, param.dtype) for value, param in pairs]):
            return tf.cast(self._objective(batch, carry)[0], gradient_dtype())

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector of all elements as a tensor for each parameter."""
        parts = tf.split(vector, self.sizes)
        return [tf.reshape(part, param.shape) for part, param in zip(parts, self._params, strict=True)]
