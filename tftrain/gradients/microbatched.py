"""The gradient of a large batch, from pieces of it one after the other."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrain.core.multiplied import Multiplied
from tftrain.core.sparse import joined
from tftrain.core.types import Batch, Evaluation, GradientMethod, Objective, Tensor, Tree


def microbatched(method: GradientMethod, pieces: int) -> GradientMethod:
    """The same gradient as `method` gives for the whole batch, holding the activations of one piece at a time.

    A piece counts by its share of the batch (`objective.mass`), so that uneven pieces and weighted examples come out
    as in the whole. Batch normalization sees each piece alone, and dropout draws for each. A batch of fewer examples
    than `pieces` is cut into single examples.
    """

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> Evaluation:
        examples = tf.shape(tf.nest.flatten(batch.x)[0])[0]
        count, whole = tf.minimum(pieces, examples), objective.mass(batch)

        def piece(index: Tensor) -> tuple[Tensor, list, Tree]:
            part = _rows(batch, index * examples // count, (index + 1) * examples // count)
            # Before the loss is differentiated: half precision would overflow earlier for a mean over fewer examples.
            share = Multiplied(objective, tf.math.divide_no_nan(objective.mass(part), whole))
            loss, grads, outputs, _ = method(share, part, carry)
            return loss, grads, outputs

        # The first piece stands outside the loop: it tells which gradients are sparse and what the outputs look like.
        loss, grads, outputs = piece(tf.constant(0))
        loss, grads, outputs = _over_the_rest(piece, count, (loss, grads, outputs))
        return Evaluation(loss, grads, outputs, carry)

    return evaluate


def _over_the_rest(piece: Any, count: Tensor, first: tuple[Tensor, list, Tree]) -> tuple[Tensor, list, Tree]:
    """Sums over pieces 1 to count - 1, with the outputs of all pieces joined in order."""
    loss, grads, outputs = first
    flat = tf.nest.flatten(outputs)
    dense = [index for index, grad in enumerate(grads) if not isinstance(grad, tf.IndexedSlices)]
    sparse = [index for index in range(len(grads)) if index not in dense]
    shown = [_gathered(count, output) for output in flat]
    rows = [(_gathered(count, grads[index].values), _gathered(count, grads[index].indices)) for index in sparse]

    def body(index, loss, sums, shown, rows):
        more, found, out = piece(index)
        sums = [total + found[place] for total, place in zip(sums, dense, strict=True)]
        shown = [array.write(index, leaf) for array, leaf in zip(shown, tf.nest.flatten(out), strict=True)]
        rows = [
            (values.write(index, found[place].values), indices.write(index, found[place].indices))
            for (values, indices), place in zip(rows, sparse, strict=True)
        ]
        return index + 1, loss + more, sums, shown, rows

    start = (tf.constant(1), loss, [grads[index] for index in dense], shown, rows)
    _, loss, sums, shown, rows = tf.while_loop(lambda index, *_: index < count, body, start, parallel_iterations=1)
    total: list = [None] * len(grads)
    for place, found in zip(dense, sums, strict=True):
        total[place] = found
    for place, (values, indices) in zip(sparse, rows, strict=True):
        shape = grads[place].dense_shape
        total[place] = joined([tf.IndexedSlices(values.concat(), indices.concat(), shape)])
    joined_outputs = [
        tf.ensure_shape(array.concat(), [None, *leaf.shape[1:]]) for array, leaf in zip(shown, flat, strict=True)
    ]
    return loss, total, tf.nest.pack_sequence_as(outputs, joined_outputs)


def _gathered(count: Tensor, first: Tensor) -> tf.TensorArray:
    array = tf.TensorArray(first.dtype, count, infer_shape=False, element_shape=[None, *first.shape[1:]])
    return array.write(0, first)


def _rows(batch: Batch, start: Tensor, stop: Tensor) -> Batch:
    return Batch(
        *(part if part is None else tf.nest.map_structure(lambda leaf: leaf[start:stop], part) for part in batch)
    )
