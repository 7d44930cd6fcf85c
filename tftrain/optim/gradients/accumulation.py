"""The gradient of a large batch, from pieces of it one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        examples = tf.shape(tf.nest.flatten(batch.x)[0])[0]
        size, masses = (
            (examples + pieces - 1) // pieces,
            objective.masses(batch),
        )
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
            share = Share(
                tf.math.divide_no_nan(mass, total_mass), size / examples
            )
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
    """Return sums over the first and so many more pieces, with the outputs of all pieces joined in order.

    Dense gradients are added up; of sparse ones the rows are collected, and added up once, after the last piece.
    """
    loss, grads, outputs = first
    leaves = leaves_and_masks(outputs)
    is_sparse = [isinstance(grad, tf.IndexedSlices) for grad in grads]
    dense = [index for index, sparse in enumerate(is_sparse) if not sparse]
    sparse = [index for index, sparse in enumerate(is_sparse) if sparse]

    def run_piece(index, loss, sums, collected, rows):
        piece_loss, piece_grads, piece_outputs = piece(index)
        sums = [
            total + piece_grads[place]
            for total, place in zip(sums, dense, strict=True)
        ]
        collected = [
            tf.tensor_scatter_nd_update(pieces, [[index]], leaf[tf.newaxis])
            for pieces, leaf in zip(
                collected, leaves_and_masks(piece_outputs), strict=True
            )
        ]
        written = []
        for (values, indices), place in zip(rows, sparse, strict=True):
            values = values.write(index, piece_grads[place].values)
            indices = indices.write(index, piece_grads[place].indices)
            written.append((values, indices))
        return index + 1, loss + piece_loss, sums, collected, written

    start = (
        tf.constant(0),
        loss,
        [grads[index] for index in dense],
        _empty_pieces(count, size, leaves),
        [_empty_rows(count, grads[index]) for index in sparse],
    )
    _, loss, sums, collected, rows = tf.while_loop(
        lambda index, *_: index < count, run_piece, start, parallel_iterations=1
    )

    total: list = [None] * len(grads)
    for place, grad in zip(dense, sums, strict=True):
        total[place] = grad
    for place, (values, indices) in zip(sparse, rows, strict=True):
        shape = grads[place].dense_shape
        later = tf.IndexedSlices(values.concat(), indices.concat(), shape)
        total[place] = concat_sparse([grads[place], later])
    joined = [
        _append_pieces(leaf, later[:count])
        for leaf, later in zip(leaves, collected, strict=True)
    ]
    return loss, total, packed_like(outputs, joined)


def _empty_pieces(
    count: Tensor, size: Tensor, leaves: Sequence[Tensor]
) -> list[Tensor]:
    """Return where the outputs of later pieces are collected, [pieces, rows, ...] each."""
    # At least one piece: also a loop that is never entered is compiled.
    places = [tf.maximum(count, 1), size]
    collected = []
    for leaf in leaves:
        shape = tf.concat([places, tf.shape(leaf)[1:]], 0)
        collected.append(tf.zeros(shape, leaf.dtype))
    return collected


def _empty_rows(
    count: Tensor, grad: tf.IndexedSlices
) -> tuple[tf.TensorArray, tf.TensorArray]:
    return _make_array(count, grad.values), _make_array(count, grad.indices)


def _make_array(count: Tensor, first: Tensor) -> tf.TensorArray:
    return tf.TensorArray(
        first.dtype,
        count,
        infer_shape=False,
        element_shape=[None, *first.shape[1:]],
    )


def _append_pieces(first: Tensor, later: Tensor) -> Tensor:
    """[rows, ...] of the first piece, and behind it [pieces, rows, ...] of the others, as one batch."""
    inner = tf.shape(first)[1:]
    joint = tf.concat(
        [first, tf.reshape(later, tf.concat([[-1], inner], 0))], 0
    )
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

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        factor = scale.read_value()
        result = method(ScaledObjective(objective, factor), batch, carry)
        grads = [
            with_values(grad, stored_values(grad) / factor)
            for grad in result.grads
        ]
        return result._replace(loss=result.loss / factor, grads=grads)

    return evaluate
