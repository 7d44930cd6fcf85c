"""Whole numbers that float32 rounds, and the inputs of a model that they are given to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tftrain.core.types import Tree
from tftrain.data.number_types import EXACT, Whole

# Layers that use whole numbers as what they are, and give something else.
_COUNTING = (
    "Embedding",
    "Hashing",
    "HashedCrossing",
    "IntegerLookup",
    "CategoryEncoding",
)
_PASSING = (
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    "Identity",
    "Squeeze",
    "ExpandDims",
    "GetItem",
)
_INT32 = np.iinfo(np.int32)


def keep_whole(model: keras.Model, x: Tree, large: Mapping[str, Whole]) -> bool:
    """Let the model take whole numbers that float32 would round as int64, where it counts by them.

    An Input that says no type is float32 in Keras, which then rounds what an Embedding behind it looks up.

    Args:
        model: a built model.
        x: a sample as the model is given it.
        large: by name (x, or x['name']), the arrays that hold such numbers.

    Returns:
        Whether the type of an input has changed.

    Raises:
        ValueError: an input is int32, and the numbers go beyond it.
    """
    changed = False
    for name, tensor in _inputs_of(model, x):
        known = large.get(name)
        if known is None:
            continue
        if (
            tensor.dtype == "int32"
            and not _INT32.min <= known.low <= known.high <= _INT32.max
        ):
            message = f"{name} goes from {known.low} to {known.high}, and the model's Input '{tensor.name}' is int32"
            raise ValueError(
                f"{message}; expected keras.Input(..., dtype='int64')"
            )
        if not keras.backend.is_float_dtype(tensor.dtype):
            continue
        inputs = _identifier_inputs(model, tensor)
        if inputs is None:
            tell_rounded(
                name, f"the model's Input '{tensor.name}' is {tensor.dtype}"
            )
            continue
        for input_ in inputs:
            _make_int64(input_)
        changed = True
    return changed


def tell_rounded(name: str, why: str) -> None:
    """Warn that float32 rounds whole numbers of an input.

    Args:
        name: of the input.
        why: it is float32.
    """
    warnings.warn(
        f"{name} holds whole numbers above {EXACT} that float32 rounds, and {why}; identifiers need "
        "keras.Input(..., dtype='int64'), quantities `preprocess: standardize`",
        stacklevel=2,
    )


def _inputs_of(model: keras.Model, x: Tree) -> Iterator[tuple[str, Any]]:
    """The symbolic inputs of a functional model, by the names that messages use for what they are given."""
    inputs = list(getattr(model, "inputs", None) or ())
    if not isinstance(x, Mapping):
        yield from (("x", tensor) for tensor in inputs[:1])
        return
    by_name = {tensor.name: tensor for tensor in inputs}
    structure = getattr(model, "input", None)
    by_name |= structure if isinstance(structure, Mapping) else {}
    yield from (
        (f"x['{name}']", by_name[name]) for name in x if name in by_name
    )


def _identifier_inputs(model: keras.Model, tensor: Any) -> list[Any] | None:
    """An input with those of nested models that it goes into, where all that use it take identifiers; else None."""
    graph = getattr(model, "_functional", None) or model
    inputs, is_used = [tensor], False
    for operation in graph.operations:
        for node in (
            operation._inbound_nodes
        ):  # there is no public way to ask what a tensor goes into
            if not any(
                input_tensor is tensor for input_tensor in node.input_tensors
            ):
                continue
            is_used = True
            nested = _inputs_within(model, operation, node, tensor)
            if nested is None:
                return None
            inputs += nested
    return inputs if is_used else None


def _inputs_within(
    model: keras.Model, operation: Any, node: Any, tensor: Any
) -> list[Any] | None:
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        inner = operation.inputs[
            next(
                place
                for place, candidate in enumerate(node.input_tensors)
                if candidate is tensor
            )
        ]
        return (
            _identifier_inputs(operation, inner)
            if keras.backend.is_float_dtype(inner.dtype)
            else []
        )
    if kind in _PASSING:
        inputs_of_outputs = [
            _identifier_inputs(model, output) for output in node.output_tensors
        ]
        return (
            None
            if None in inputs_of_outputs
            else [
                candidate
                for inputs in inputs_of_outputs
                for candidate in inputs
            ]
        )
    is_cast = kind == "Cast" and not keras.backend.is_float_dtype(
        node.output_tensors[0].dtype
    )
    return [] if kind in _COUNTING or is_cast else None


def _make_int64(tensor: Any) -> None:
    """Make an Input int64; what is between an Input and an Embedding hands numbers on as they come."""
    tensor._dtype = "int64"  # Keras refuses to set `dtype`; casts of what a model is called with go by this
    operation = tensor._keras_history.operation
    if isinstance(operation, keras.layers.InputLayer):
        operation._dtype = "int64"
