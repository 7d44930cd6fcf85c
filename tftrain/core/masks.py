"""Keras masks: what steps of a sequence count. They hang on a tensor, and what is made of it has none."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.types import Tensor, Tree


def mask_of(outputs: Tree) -> Tensor | None:
    """The mask that Keras' losses and metrics go by; they know of none where a model has several outputs."""
    return getattr(outputs, "_keras_mask", None)


def with_mask(outputs: Tensor, mask: Tensor | None) -> Tensor:
    """Attach a mask to a tensor, as Keras does; returns the tensor.

    Args:
        outputs: what a layer gave.
        mask: what counts of it, [batch, time, ...]; None for everything.
    """
    if mask is not None:
        outputs._keras_mask = mask
    return outputs


def both(mask: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the mask of what counts by both of two masks.

    Args:
        mask: the first; None for everything.
        second: the second; None for everything.
    """
    if mask is None:
        return second
    if second is None:
        return mask
    return tf.cast(mask, tf.bool) & tf.cast(second, tf.bool)


def leaves_and_masks(outputs: Tree) -> list[Tensor]:
    """The tensors of a tree, and behind them the masks of those that have one."""
    leaves = tf.nest.flatten(outputs)
    masks = [mask_of(leaf) for leaf in leaves]
    return leaves + [mask for mask in masks if mask is not None]


def packed_like(outputs: Tree, flat: Sequence[Tensor]) -> Tree:
    """Return a tree from its leaves and masks: the reverse of `leaves_and_masks`.

    Args:
        outputs: a tree of this structure, some leaves of which have masks.
        flat: the leaves, then the masks.
    """
    old_leaves = tf.nest.flatten(outputs)
    leaves = flat[: len(old_leaves)]
    masks = iter(flat[len(old_leaves) :])
    for leaf, old_leaf in zip(leaves, old_leaves, strict=True):
        if mask_of(old_leaf) is not None:
            with_mask(leaf, next(masks))
    return tf.nest.pack_sequence_as(outputs, leaves)
