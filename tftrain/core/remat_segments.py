"""A functional model in stretches of its layers, cut where that saves most memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from tftrain.core.types import Tensor, Tree


class Segment(NamedTuple):
    """Nodes of a model's graph that follow one another, and the ids of the tensors that come and go."""

    nodes: Sequence[Any]
    layers: Sequence[Any]
    needs: list[int]
    gives: list[int]
    again: bool  # all but the last one, whose activations the backward pass needs first


class Segments(NamedTuple):
    """All of them, in order."""

    functional: Any
    all: list[Segment]

    def given(self, inputs: Tree) -> dict[int, Tensor]:
        """What each input of the model is, by id."""
        ids = (id(tensor) for tensor in self.functional.inputs)
        return dict(zip(ids, keras.tree.flatten(inputs), strict=True))

    def run(
        self, segment: Segment, operation_fn: Callable, known: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Call the layers of a segment, as Keras does; returns the tensors that it gives by id.

        Args:
            segment: some nodes of the model.
            operation_fn: what Keras calls a layer by.
            known: the tensors so far by id.
        """
        known = dict(known)
        for node in segment.nodes:
            args, kwargs = node.arguments.fill_in(known)
            outputs = keras.tree.flatten(
                operation_fn(node.operation)(*args, **kwargs)
            )
            known |= {
                id(tensor): output
                for tensor, output in zip(node.outputs, outputs, strict=True)
            }
        return {key: known[key] for key in segment.gives}

    def packed(self, known: dict[int, Tensor]) -> Tree:
        """The outputs of the model."""
        outputs = [known[id(output)] for output in self.functional.outputs]
        return keras.tree.pack_sequence_as(
            self.functional._outputs_struct, outputs
        )


def find_segments(model: Any) -> Segments | None:
    """Those that hold least at once: what lies between them, and the activations of the largest one.

    With layers of one size that is about the square root of their number (Chen et al., 2016, arXiv 1604.06174). Where
    one part of the model holds most of it, and is functional itself, that is cut. None for other kinds of models.
    """
    functional = _as_functional(model)
    if functional is None:
        return None
    nodes = _ordered_nodes(functional)
    sizes = [_node_size(node) for node in nodes]
    largest = max(range(len(nodes)), key=sizes.__getitem__)
    inner = (
        find_segments(nodes[largest].operation)
        if 2 * sizes[largest] > sum(sizes)
        else None
    )
    return inner or Segments(
        functional,
        _make_segments(functional, nodes, _best_cuts(functional, nodes, sizes)),
    )


def _as_functional(model: Any) -> Any:
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if hasattr(model, "_nodes_by_depth") else None


def _ordered_nodes(functional: Any) -> list:
    """In the order in which Keras calls them."""
    depths = sorted(functional._nodes_by_depth, reverse=True)
    return [
        node
        for depth in depths
        for node in functional._nodes_by_depth[depth]
        if not node.is_input
    ]


def _node_size(node: Any) -> int:
    """Numbers that a node's activations are, of one example; about so many, within recurrent layers."""
    size, inner = (
        sum(map(_element_count, node.outputs)),
        _as_functional(node.operation),
    )
    if inner is not None:
        return sum(map(_node_size, _ordered_nodes(inner)))
    return size + sum(
        _stored_by_loop(layer, node.input_tensors[0])
        for layer in _recurrent_layers(node.operation)
    )


def _recurrent_layers(operation: Any) -> list:
    layers = (
        operation._flatten_layers()
        if isinstance(operation, keras.layers.Layer)
        else []
    )
    return [layer for layer in layers if isinstance(layer, keras.layers.RNN)]


def _stored_by_loop(layer: Any, inputs: Any) -> int:
    """What is kept of all time steps."""
    return (inputs.shape[1] or 1) * sum(
        weight.shape[-1] for weight in layer.weights if len(weight.shape) > 1
    )


def _element_count(tensor: Any) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])


def _crossing_tensors(
    functional: Any, nodes: Sequence[Any]
) -> list[dict[int, int]]:
    """Before each node, and behind the last: what is there and still needed, with its size; inputs are held anyway."""
    last = {
        id(tensor): place
        for place, node in enumerate(nodes)
        for tensor in node.input_tensors
    }
    last |= {id(tensor): len(nodes) for tensor in functional.outputs}
    alive: dict[int, int] = {}
    crossing = []
    for place, node in enumerate(nodes):
        alive = {key: size for key, size in alive.items() if last[key] >= place}
        crossing.append(alive)
        alive = alive | {
            id(tensor): _element_count(tensor)
            for tensor in node.outputs
            if id(tensor) in last
        }
    return [*crossing, {}]


def _best_cuts(
    functional: Any, nodes: Sequence[Any], sizes: Sequence[int]
) -> list[int]:
    crossing, sums = (
        _crossing_tensors(functional, nodes),
        [0, *itertools.accumulate(sizes)],
    )

    def peak_size(cuts: Sequence[int]) -> int:
        stored = {
            key: size for cut in cuts for key, size in crossing[cut].items()
        }
        return sum(stored.values()) + max(
            sums[b] - sums[a]
            for a, b in itertools.pairwise([0, *cuts, len(nodes)])
        )

    tried = {
        tuple(_cuts_within(max(sums[-1] / parts, max(sizes)), crossing, sums))
        for parts in range(1, len(nodes) + 1)
    }
    return list(min(tried, key=lambda cuts: (peak_size(cuts), len(cuts))))


def _cuts_within(
    limit: float, crossing: Sequence[dict[int, int]], sums: Sequence[int]
) -> list[int]:
    """Where to cut so that no segment is larger than the limit, and the least is kept between them."""
    best: list[tuple[int, list[int]]] = [(0, [])]
    for stop in range(1, len(sums)):
        stored = sum(crossing[stop].values())
        starts = [
            start for start in range(stop) if sums[stop] - sums[start] <= limit
        ]
        cheapest = min(
            (best[start] for start in starts),
            key=lambda candidate: candidate[0],
        )
        best.append((cheapest[0] + stored, [*cheapest[1], stop]))
    return best[-1][1][:-1]


def _make_segments(
    functional: Any, nodes: Sequence[Any], cuts: Sequence[int]
) -> list[Segment]:
    needed, segments = {id(tensor) for tensor in functional.outputs}, []
    for start, stop in reversed(
        list(itertools.pairwise([0, *cuts, len(nodes)]))
    ):
        part = nodes[start:stop]
        outputs = [id(tensor) for node in part for tensor in node.outputs]
        needs = dict.fromkeys(
            id(tensor) for node in part for tensor in node.input_tensors
        )
        layers = list(
            {id(node.operation): node.operation for node in part}.values()
        )
        layers = [
            layer for layer in layers if isinstance(layer, keras.layers.Layer)
        ]
        gives = [key for key in outputs if key in needed]
        needed |= needs.keys()
        segments.append(
            Segment(
                part,
                layers,
                [key for key in needs if key not in outputs],
                gives,
                stop < len(nodes),
            )
        )
    return segments[::-1]
