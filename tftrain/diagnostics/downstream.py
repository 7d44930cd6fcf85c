"""What stands behind a layer in the forward pass, up to the next layers with parameters of their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tftrain.core.layer_calls import LayerNames
from tftrain.core.types import Batch, Objective
from tftrain.core.variables import names_by_id
from tftrain.diagnostics.layer_trace import record_calls

_NOT_OWN = ("keras", "tensorflow", "tftrain")
_FUNCTIONS = (
    "activation",
    "function",
)  # what layers such as Activation and Lambda call


class Downstream(NamedTuple):
    """`layer` is the last in the forward pass that owns one of the parameters, by the names of its parameters.

    `between` are the layers that have its output, or what is made of it, before the layers `above` do; both in the
    order of their calls. If some of `between` have code of the user's, it is these alone.
    """

    layer: str
    between: list[str]
    above: list[str]


def layers_after(
    objective: Objective, batch: Batch, names: Collection[str]
) -> Downstream | None:
    """Return what is behind the last of the layers that own some parameters; None where their calls are not seen.

    Follows the tensors in a graph, so that branches are told apart; nothing is computed.

    Args:
        objective: the model and its loss.
        batch: a sample.
        names: those of the parameters.
    """
    model = objective.model
    downstream = []

    def trace() -> int:
        with record_calls(model) as calls:
            objective(batch)
        downstream[:] = _layers_behind(model, calls, names)
        return 0

    tf.function(trace, autograph=False).get_concrete_function()
    return downstream[0] if downstream else None


def _layers_behind(
    model: Any, calls: Sequence[Any], names: Collection[str]
) -> list[Downstream]:
    owners, labels = (
        _owning_layers(model, [call.layer for call in calls]),
        LayerNames(model),
    )
    layers = {name.rpartition("/")[0]: layer for name, layer in owners.items()}
    known = {id(layer): name for name, layer in layers.items()}
    wrong = {id(owners[name]) for name in names if name in owners}
    last = next(
        (call.layer for call in reversed(calls) if id(call.layer) in wrong),
        None,
    )
    if last is None or not all(name in owners for name in names):
        return []
    between, above, depth = {}, {}, 0
    reached = _reached_calls(
        [call for call in calls if call.layer is last], calls, set(known)
    )
    for place, call in enumerate(calls):
        depth = labels.depth(call.layer, depth)
        if place not in reached or call.layer is last:
            continue
        if id(call.layer) in known:
            above[known[id(call.layer)]] = None
        else:
            between[
                f"{labels.label(call.layer, depth)} ({type(call.layer).__name__})"
            ] = _is_own(call.layer)
    own_layers = [name for name, is_own in between.items() if is_own]
    name = next(
        name for name in names if owners[name] is last
    )  # one layer's may have several numbers before them
    return [
        Downstream(
            name.rpartition("/")[0], own_layers or list(between), list(above)
        )
    ]


def _owning_layers(model: Any, layers: Sequence[Any]) -> dict[str, Any]:
    """The called layer that each parameter is in, the innermost; a layer around others owns its own weights alone."""
    by_id, owners = names_by_id(model), {}
    for layer in sorted(layers, key=lambda layer: -len(layer.weights)):
        owners |= {
            by_id[id(weight)]: layer
            for weight in layer.weights
            if id(weight) in by_id
        }
    return owners


def _reached_calls(
    starts: Sequence[Any], calls: Sequence[Any], owners: Collection[int]
) -> set[int]:
    """The places of the calls that what `starts` gave goes into, not beyond those of `owners`."""
    places: dict[str, int] = {}
    for place, call in enumerate(calls):
        for output in call.outputs:
            places.setdefault(
                output.name, place
            )  # a container gives the tensor of its last layer again
    reached, seen, waiting = (
        set(),
        set(),
        [output for call in starts for output in call.outputs],
    )
    while waiting:
        for operation in waiting.pop().consumers():
            if operation.name in seen:
                continue
            seen.add(operation.name)
            output_places = {
                output.name: places.get(output.name)
                for output in operation.outputs
            }
            reached |= {
                place for place in output_places.values() if place is not None
            }
            waiting += [
                output
                for output in operation.outputs
                if output_places[output.name] is None
                or id(calls[output_places[output.name]].layer) not in owners
            ]
    return reached


def _is_own(layer: Any) -> bool:
    """Whether it has code in it that is none of Keras' and none of ours."""
    functions = [
        type(layer),
        *(
            vars(layer)[name]
            for name in _FUNCTIONS
            if callable(vars(layer).get(name))
        ),
    ]
    modules = [
        getattr(function, "__module__", None) or "" for function in functions
    ]
    return any(module.partition(".")[0] not in _NOT_OWN for module in modules)
