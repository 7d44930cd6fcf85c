"""The parameters of a model, which are its weights that are made to be trained, and what they are called."""

from __future__ import annotations

from typing import Any, NamedTuple


class Names(NamedTuple):
    """What the parameters are called, each list in the model's order."""

    trained: list[str]
    frozen: list[str]


def parameters(model: Any) -> list:
    """Every parameter in the model's order, those of frozen layers too."""
    made = {id(variable) for layer in model._flatten_layers() for variable in layer._trainable_variables}
    return [variable for variable in model.weights if variable.trainable or id(variable) in made]


def named(model: Any) -> dict[int, str]:
    """A name such as `002.encoder.dense/kernel` for each parameter, by the variable's id.

    The number counts layers in order, those that are frozen too, so that freezing changes no name.
    """
    layers: dict[tuple[str, int], int] = {}
    seen: dict[str, int] = {}
    names = {}
    for variable in parameters(model):
        path = variable.path.removeprefix(f"{model.name}/")
        layer, _, name = path.rpartition("/")
        # Two layers can have one path; the second `kernel` under it must belong to the second layer.
        seen[path] = seen.get(path, 0) + 1
        index = layers.setdefault((layer, seen[path]), len(layers))
        names[id(variable)] = f"{index:03d}.{layer.replace('/', '.') or model.name}/{name}"
    return names


def names_of(model: Any) -> Names:
    by_id, trained = named(model), [id(variable) for variable in model.trainable_variables]
    return Names([by_id[one] for one in trained], [name for one, name in by_id.items() if one not in set(trained)])


def parameter_names(model: Any) -> list[str]:
    """The names of the parameters that are trained."""
    return names_of(model).trained
