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
    """The same gradient as `method` gives for the whole batch, holding the activations of one piece at a time.

    A piece counts by its share of the batch (`objective.masses`), so that uneven pieces, weighted examples and what a
    mask or the loss itself leaves out come out as in the whole; what is a sum over the batch adds up. Batch
    normalization sees each piece alone, and dropout draws for each. There are as few pieces as are no larger than a
    batch cut into `pieces` needs; the first of them may be smaller than the others.
    """

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> LossAndGrads:
        examples = tf.shape(tf.nest.flatten(batch.x)[0])[0]
        size, masses = (examples + pieces - 1) // pieces, objective.masses(batch)
        more, whole = (
            (examples - 1) // size,
            tf.reduce_sum(masses),
        )  # one size for all in the loop, as XLA needs it
        first = examples - more * size

        def piece(start: Tensor, size: Tensor) -> tuple[Tensor, list, Tree]:
            rows = start + tf.range(size)
            part, mass = (
                Batch(*(_rows(part, rows) for part in batch)),
                tf.reduce_sum(tf.gather(masses, rows)),
            )
            # Before the loss is differentiated: half precision would overflow earlier for a mean over fewer examples.
            share = Share(tf.math.divide_no_nan(mass, whole), size / examples)
            loss, grads, outputs, after = method(
                Portion(objective, share), part, _rows(carry, rows)
            )
            return loss, grads, (outputs, after)

        # The first piece stands outside the loop: it tells which gradients are sparse and what the outputs look like.
        found = piece(tf.constant(0), first)
        loss, grads, shown = _over_the_rest(
            lambda index: piece(first + index * size, size), more, size, found
        )
        return LossAndGrads(loss, grads, *shown)

    return evaluate


def _over_the_rest(
    piece: Callable[[Tensor], tuple],
    more: Tensor,
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
        tf.maximum(more, 1),
        size,
    ]  # not none at all, for what is never done is compiled too
    shown = [
        tf.zeros(tf.concat([places, tf.shape(leaf)[1:]], 0), leaf.dtype)
        for leaf in flat
    ]
    rows = [
        (_gathered(more, grads[index].values), _gathered(more, grads[index].indices))
        for index in sparse
    ]

    def body(index, loss, sums, shown, rows):
        extra, found, out = piece(index)
        sums = [total + found[place] for total, place in zip(sums, dense, strict=True)]
        leaves = zip(shown, leaves_and_masks(out), strict=True)
        shown = [
            tf.tensor_scatter_nd_update(all_of_it, [[index]], leaf[tf.newaxis])
            for all_of_it, leaf in leaves
        ]
        rows = [
            (
                values.write(index, found[place].values),
                indices.write(index, found[place].indices),
            )
            for (values, indices), place in zip(rows, sparse, strict=True)
        ]
        return index + 1, loss + extra, sums, shown, rows

    start = (tf.constant(0), loss, [grads[index] for index in dense], shown, rows)
    _, loss, sums, shown, rows = tf.while_loop(
        lambda index, *_: index < more, body, start, parallel_iterations=1
    )
    total: list = [None] * len(grads)
    for place, found in zip(dense, sums, strict=True):
        total[place] = found
    for place, (values, indices) in zip(sparse, rows, strict=True):
        rest = tf.IndexedSlices(
            values.concat(), indices.concat(), grads[place].dense_shape
        )
        total[place] = concat_sparse([grads[place], rest])
    all_shown = [
        _behind(leaf, rest[:more]) for leaf, rest in zip(flat, shown, strict=True)
    ]
    return loss, total, packed_like(outputs, all_shown)


def _gathered(count: Tensor, first: Tensor) -> tf.TensorArray:
    return tf.TensorArray(
        first.dtype, count, infer_shape=False, element_shape=[None, *first.shape[1:]]
    )


def _behind(first: Tensor, rest: Tensor) -> Tensor:
    """[rows, ...] of the first piece, and behind it [pieces, rows, ...] of the others, as one batch."""
    inner = tf.shape(first)[1:]
    joint = tf.concat([first, tf.reshape(rest, tf.concat([[-1], inner], 0))], 0)
    return tf.ensure_shape(joint, [None, *first.shape[1:]])


def _rows(tree: Tree, rows: Tensor) -> Tree:
    return tf.nest.map_structure(
        lambda leaf: None if leaf is None else tf.gather(leaf, rows), tree
    )


def loss_scaled(method: GradientMethod, scale: tf.Variable) -> GradientMethod:
    """Differentiates a multiple of the loss; the loss and the gradients leave at their true size, in float32."""

    def evaluate(objective: Objective, batch: Batch, carry: Tree) -> LossAndGrads:
        factor = scale.read_value()
        found = method(ScaledObjective(objective, factor), batch, carry)
        grads = [
            with_values(grad, stored_values(grad) / factor) for grad in found.grads
        ]
        return found._replace(loss=found.loss / factor, grads=grads)

    return evaluate
