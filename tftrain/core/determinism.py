"""What draws other random numbers when it is computed a second time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

REPEATABLE = "keras.random with a seed of keras.random.SeedGenerator, an attribute of the layer"


class NotRepeatable(ValueError):
    """A layer that would not do the same a second time; one line."""


class Operations:
    """The operations of the present graph from now on."""

    def __init__(self):
        self._graph = (
            None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        )
        self._first = len(self._graph.get_operations()) if self._graph else 0

    def since(self) -> list:
        """Their definitions, those in the bodies of loops and the like too."""
        if self._graph is None:
            return []
        return list(
            self._all_nodes(
                [
                    operation.node_def
                    for operation in self._graph.get_operations()[self._first :]
                ]
            )
        )

    def _all_nodes(self, nodes: Iterable[Any]) -> Iterator[Any]:
        for node in nodes:
            yield node
            for name in (
                value.func.name
                for value in node.attr.values()
                if value.HasField("func")
            ):
                yield from self._all_nodes(
                    self._graph._get_function(name).cached_definition.node_def
                )


def find_random_op(nodes: Sequence[Any]) -> str | None:
    """Which of these operations, the first of them, draws other numbers a second time; None where there is none."""
    drawing = next((node for node in nodes if _is_random(node)), None)
    return (
        f"{drawing.name} ({drawing.op}) draws other random numbers a second time"
        if drawing
        else None
    )


def _is_random(node: Any) -> bool:
    """Whether an operation draws from a state of its own, or from a tf.random.Generator."""
    if node.op.startswith("Stateless") or node.op.startswith("CudnnRNN"):
        return False
    return "seed" in node.attr or node.op.startswith(
        ("RngReadAndSkip", "StatefulRandom", "StatefulUniform")
    )
