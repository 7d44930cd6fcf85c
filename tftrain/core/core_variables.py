"""Variables outside of the model: how they are made, and trees of them read and written."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import Tree

FIRST = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}  # all replicas write the same


def read(tree: Tree) -> Tree:
    """The present values of a tree of variables."""
    return tf.nest.map_structure(lambda variable: variable.read_value(), tree)


def write(tree: Tree, values: Tree) -> None:
    """Give a tree of variables new values."""
    tf.nest.map_structure(lambda variable, value: variable.assign(value), tree, values)
