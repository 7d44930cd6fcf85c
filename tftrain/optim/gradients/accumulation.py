"""The gradient of a large batch, from pieces of it one after the other."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tftrain.core.masks import leaves_and_masks, packed_like
from tftrain.core.numerics import concat_sparse, stored_values, with_values
from tftrain.core.scaled_objective import Portion, ScaledObjective, Share
from tftrain.core.types import (
    Batch,
    GradientMethod,
    LossAndGrads,
    Objective,
    Tensor,
    Tree,
)


def accumulated(method: GradientMethod, pieces: int) -> GradientMethod:
    """Return a method that computes the gradient of a batch piece by piece, with the activations of one at a time.

    A piece counts by its share of the batch (`objective.masses`), so that uneven pieces, weighted examples and what a
    mask or the loss itself leaves out come out as in the whole; what is a sum over the batch adds up. Batch
    normalization sees each piece alone, and dropout draws for each. There are as few pieces as are no larger than a
    batch cut into `pieces` needs; the first of them may be smaller than the others.

    Args:
        method: computes the gradient of a piece.
        pieces: how many, at most.
    """

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> LossAndGrads:
        examples = tf.shape(tf.nest.flatten(batch.x)[0])[0]
        size, masses = (examples + pieces - 1) // pieces, objective.masses(batch)
        later_pieces, total_mass = (
            (examples - 1) // size,
            tf.reduce_sum(masses),
        )  # one size for all in the loop, as XLA needs it
        first = examples - later_pieces * size

        def run_piece(start: Tensor, size: Tensor) -> tuple[Tensor, list, Tree]:
            rows = start + tf.range(size)
            part, mass = (
                Batch(*(_take_rows(part, rows) for part in batch)),
                tf.reduce_sum(tf.gather(masses, rows)),
            )
            # Before the loss is differentiated: half precision would overflow earlier for a mean over fewer examples.
            share = Share(tf.math.divide_no_nan(mass, total_mass), size / examples)
            loss, grads, outputs, next_carry = method(
                Portion(objective, share), part, _take_rows(carry, rows)
            )
            return loss, grads, (outputs, next_carry)

        # The first piece stands outside the loop: it tells which gradients are sparse and what the outputs look like.
        first_piece = run_piece(tf.constant(0), first)
        loss, grads, results = _over_the_rest(
            lambda index: run_piece(first + index * size, size),
            later_pieces,
            size,
            first_piece,
        )
        return LossAndGrads(loss, grads, *results)

    return evaluate


def _over_the_rest(
    piece: Callable[[Tensor], tuple],
    count: Tensor,
    size: Tensor,
    first: tuple[Tensor, list, Tree],
) -> tuple[Tensor, list, Tree]:
    """Sums over the first and so many more pieces, with the outputs of all pieces joined in order."""
    loss, grads, outputs = first
    flat = leaves_and_masks(outputs)
    dense = [
        index
        for index, grad in enumerate(grads)
        if not isinstance(grad, tf.IndexedSlices)
    ]
    sparse = [index for index in range(len(grads)) if index not in dense]
    places = [
        tf.maximum(count, 1),
        size,
    ]  # not none at all, for what is never done is compiled too
    collected = [
        tf.zeros(tf.concat([places, tf.shape(leaf)[1:]], 0), leaf.dtype)
        for leaf in flat
    ]
    rows = [
        (
            _make_array(count, grads[index].values),
            _make_array(count, grads[index].indices),
        )
        for index in sparse
    ]

    def body(index, loss, sums, collected, rows):
        extra, piece_grads, out = piece(index)
        sums = [
            total + piece_grads[place] for total, place in zip(sums, dense, strict=True)
        ]
        leaves = zip(collected, leaves_and_masks(out), strict=True)
        collected = [
            tf.tensor_scatter_nd_update(all_of_it, [[index]], leaf[tf.newaxis])
            for all_of_it, leaf in leaves
        ]
        rows = [
            (
                values.write(index, piece_grads[place].values),
                indices.write(index, piece_grads[place].indices),
            )
            for (values, indices), place in zip(rows, sparse, strict=True)
        ]
        return index + 1, loss + extra, sums, collected, rows

    start = (tf.constant(0), loss, [grads[index] for index in dense], collected, rows)
    _, loss, sums, collected, rows = tf.while_loop(
        lambda index, *_: index < count, body, start, parallel_iterations=1
    )
    total: list = [None] * len(grads)
    for place, piece_grads in zip(dense, sums, strict=True):
        total[place] = piece_grads
    for place, (values, indices) in zip(sparse, rows, strict=True):
        later = tf.IndexedSlices(
            values.concat(), indices.concat(), grads[place].dense_shape
        )
        total[place] = concat_sparse([grads[place], later])
    all_shown = [
        _append_pieces(leaf, later[:count])
        for leaf, later in zip(flat, collected, strict=True)
    ]
    return loss, total, packed_like(outputs, all_shown)


def _make_array(count: Tensor, first: Tensor) -> tf.TensorArray:
    return tf.TensorArray(
        first.dtype, count, infer_shape=False, element_shape=[None, *first.shape[1:]]
    )


def _append_pieces(first: Tensor, later: Tensor) -> Tensor:
    """[rows, ...] of the first piece, and behind it [pieces, rows, ...] of the others, as one batch."""
    inner = tf.shape(first)[1:]
    joint = tf.concat([first, tf.reshape(later, tf.concat([[-1], inner], 0))], 0)
    return tf.ensure_shape(joint, [None, *first.shape[1:]])


def _take_rows(tree: Tree, rows: Tensor) -> Tree:
    return tf.nest.map_structure(
        lambda leaf: None if leaf is None else tf.gather(leaf, rows), tree
    )


def loss_scaled(method: GradientMethod, scale: tf.Variable) -> GradientMethod:
    """Return a method that differentiates a multiple of the loss; loss and gradients are returned at their true size.

    Args:
        method: computes the gradient.
        scale: the multiple.
    """

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> LossAndGrads:
        factor = scale.read_value()
        result = method(ScaledObjective(objective, factor), batch, carry)
        grads = [
            with_values(grad, stored_values(grad) / factor) for grad in result.grads
        ]
        return result._replace(loss=result.loss / factor, grads=grads)

    return evaluate
