"""Whether what counts in the loss is known before the pass whose loss it is."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrain.core import replication
from tftrain.core.masks import mask_of
from tftrain.core.types import Batch, Objective

_OF_THE_SHAPE = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")
_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")


def is_mask_known_ahead(objective: Objective, batch: Batch) -> bool:
    """Return whether the mask comes of the inputs and the targets alone.

    It does not where it goes by what the layers compute from their weights, as that of a loss which leaves out what
    the model is sure of, or where it is drawn, as that of a layer which hides other steps in each pass. Nothing is
    computed for this: a pass is traced, and the operations are followed that lead to its mask.

    Args:
        objective: the model and its loss.
        batch: a sample.
    """
    with replication.first_of(objective.model.variables[0].value):
        return all(
            _is_independent(objective, batch, training)
            for training in (False, True)
        )


def _is_independent(objective: Objective, batch: Batch, training: bool) -> bool:
    weights = [tf.convert_to_tensor(param) for param in objective.params]

    def trace_call(batch: Batch) -> int:
        with objective.at(weights):
            masks.append(
                mask_of(objective.terms(batch, training=training).outputs)
            )
        return 0

    masks: list = []
    arrays = Batch(
        *(
            part
            if part is None
            else tf.nest.map_structure(tf.convert_to_tensor, part)
            for part in batch
        )
    )
    graph = (
        tf.function(trace_call, autograph=False)
        .get_concrete_function(arrays)
        .graph
    )
    if masks[0] is None or masks[0].graph is not graph:
        return True
    of_weights = {id(weight) for weight in weights}
    barred = {
        inner.op.name
        for outer, inner in graph.captures
        if id(outer) in of_weights
    }
    return not any(
        op.name in barred or _reads_or_draws(op)
        for op in _leading_to(masks[0].op)
    )


def _leading_to(op: Any) -> list:
    """The operations whose values an operation goes by, itself included."""
    seen, ahead = {op.name: op}, [op]
    while ahead:
        op = ahead.pop()
        if op.type in _OF_THE_SHAPE:
            continue
        new = {
            tensor.op.name: tensor.op
            for tensor in op.inputs
            if tensor.op.name not in seen
        }
        seen |= new
        ahead.extend(new.values())
    return list(seen.values())


def _reads_or_draws(op: Any) -> bool:
    calls_function = any(
        attr.HasField("func") for attr in op.node_def.attr.values()
    )
    given_variables = calls_function and any(
        tensor.dtype == tf.resource for tensor in op.inputs
    )
    return (
        op.type in _READS
        or op.op_def.is_stateful
        and op.type.startswith("Random")
        or given_variables
    )
