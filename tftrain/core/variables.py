"""The parameters of a model, which are its weights that are made to be trained, and what they are called."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import (
    global_state,
)  # there is no public way to the seed that all share
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from tftrain.core.types import Tree


class Names(NamedTuple):
    """What the parameters are called, each list in the model's order."""

    trained: list[str]
    frozen: list[str]


def parameters(model: Any) -> list:
    """Every parameter in the model's order, those of frozen layers too."""
    trainable_ids = {
        id(variable)
        for layer in model._flatten_layers()
        for variable in layer._trainable_variables
    }
    return [
        variable
        for variable in model.weights
        if variable.trainable or id(variable) in trainable_ids
    ]


def buffers_of(model: Any) -> list:
    """The model's other variables, without the weights of frozen layers, which may be many and do not change."""
    frozen = {id(variable) for variable in parameters(model)}
    return [
        variable.value
        for variable in model.non_trainable_variables
        if id(variable) not in frozen
    ]


def untracked_variables(model: Any) -> dict[str, tf.Variable]:
    """The variables that layers hold beside their weights, such as a plain tf.Variable, by the layer's name and theirs.

    Keras neither trains nor saves them.
    """
    known, untracked = {id(variable.value) for variable in model.variables}, {}
    for layer in model._flatten_layers():
        for name, value in sorted(
            vars(layer).items(), key=lambda item: item[0].startswith("_")
        ):
            for held_variable in _variables_in(value):
                if id(held_variable) not in known:
                    known.add(id(held_variable))
                    untracked[f"{layer.name}.{name}"] = held_variable
    return untracked


def _variables_in(value: Any) -> Iterator[tf.Variable]:
    if isinstance(value, tf.Variable):
        yield value
    elif isinstance(value, tf.random.Generator):
        yield value.state
    elif isinstance(value, tf.Module):
        yield from value.variables
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _variables_in(item)


def names_by_id(model: Any) -> dict[int, str]:
    """A name such as `002.encoder.dense/kernel` for each parameter, by the variable's id.

    The number counts the layers that own parameters, in order, those that are frozen too, so that freezing changes no
    name. Two layers may have one path, and two variables of a layer one name.
    """
    owners = {
        id(variable): layer
        for layer in reversed(model._flatten_layers())
        for variable in _own_variables(layer)
    }
    labels: dict[int, str] = {}  # by the owner's id
    names: dict[int, str] = {}
    for variable in parameters(model):
        owner = owners.get(id(variable), model)
        path, _, name = variable.path.removeprefix(f"{model.name}/").rpartition(
            "/"
        )
        label = labels.setdefault(
            id(owner),
            f"{len(labels):03d}.{path.replace('/', '.') or owner.name}/",
        )
        names[id(variable)] = _unique_name(names.values(), label + name)
    return names


def _own_variables(layer: Any) -> list:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _unique_name(taken: Iterable[str], name: str) -> str:
    numbered = itertools.chain(
        [name], (f"{name}_{number}" for number in itertools.count(2))
    )
    return next(candidate for candidate in numbered if candidate not in taken)


def names_of(model: Any) -> Names:
    """Return the names of a model's parameters, those that are trained first."""
    by_id, trained = (
        names_by_id(model),
        [id(variable) for variable in model.trainable_variables],
    )
    return Names(
        [by_id[key] for key in trained],
        [name for key, name in by_id.items() if key not in set(trained)],
    )


def parameter_names(model: Any) -> list[str]:
    """The names of the parameters that are trained."""
    return names_of(model).trained


def element_name(param: str, shape: Sequence[int], place: int) -> str:
    """Return the name of one number of a parameter.

    Args:
        param: the name of the parameter.
        shape: its shape.
        place: of the number, in row-major order.
    """
    return ".".join(
        [param, *(str(index) for index in np.unravel_index(place, shape))]
        if shape
        else [param]
    )


def parse_element_name(
    name: str, params: Sequence[str], shapes: Sequence[Sequence[int]]
) -> tuple[int, int]:
    """Return which parameter a number is of, and its place there in row-major order.

    Args:
        name: what `element_name` gives.
        params: the names of the parameters.
        shapes: their shapes.
    """
    for number, (param, shape) in enumerate(zip(params, shapes, strict=True)):
        indices = name.removeprefix(f"{param}.").split(".") if shape else []
        if name != ".".join([param, *indices]) or len(indices) != len(shape):
            continue
        if all(
            index in map(str, range(side))
            for index, side in zip(indices, shape, strict=True)
        ):
            return number, int(
                np.ravel_multi_index([*map(int, indices)], shape)
            ) if shape else 0
    last = [
        element_name(param, shape, int(np.prod(shape)) - 1)
        for param, shape in zip(params, shapes, strict=True)
    ]
    raise ValueError(
        f"given '{name}', which names no number; the last of each parameter are {', '.join(last)}"
    )


ON_FIRST_REPLICA = {
    "trainable": False,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}  # all replicas write the same


def read_values(tree: Tree) -> Tree:
    """The present values of a tree of variables."""
    return tf.nest.map_structure(lambda variable: variable.read_value(), tree)


def assign_values(tree: Tree, values: Tree) -> None:
    """Assign new values to a tree of variables.

    Args:
        tree: variables.
        values: of the same structure.
    """
    tf.nest.map_structure(
        lambda variable, value: variable.assign(value), tree, values
    )


@contextmanager
def preserve_state(model: Any) -> Iterator[None]:
    """What a forward pass changes in the model is as before at the end of the block, and the seed of keras.random."""
    seed = global_state.get_global_attribute(
        GLOBAL_SEED_GENERATOR
    )  # which is taken where none is given
    shared = [] if seed is None else [seed.state.value]
    normed = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.SpectralNormalization)
    ]
    trained = [
        variable.value
        for layer in normed
        for variable in layer.trainable_variables
    ]  # which it changes too
    buffers = [
        *buffers_of(model),
        *untracked_variables(model).values(),
        *shared,
        *trained,
    ]
    old_values = [buffer.numpy() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, old_values, strict=True):
            buffer.assign(value)
