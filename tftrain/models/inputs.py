"""What the networks here take in."""

from __future__ import annotations

from collections.abc import Mapping

from tftrain.core.types import Tree


def expect_one_array(input_shape: Tree) -> None:
    """Raises ValueError where an example is several arrays."""
    if isinstance(input_shape, Mapping):
        has = ", ".join(f"'{key}'" for key in input_shape)
        raise ValueError(f"takes one array, and x of an example is a dict of {has}; give a model of your own")
