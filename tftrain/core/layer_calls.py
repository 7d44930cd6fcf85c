"""What the layers of a model give in a step, taken down while the step is traced: nothing is computed again."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.types import Activation, Tensor
from tftrain.core.variables import names_by_id

Call = tuple[Any, Tensor]  # a layer, and what it gave

_PASSES_ON = "IdentityN"
_OPS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}
# None at all, or one for all units together.
_NOT_BY_UNIT = ("linear", "softmax", "log_softmax", "sparsemax")
# Those that hold no activation and are many ops.
_LAYERS = {keras.layers.ReLU: "relu", keras.layers.PReLU: "prelu"}


class _Trace(threading.local):
    """What is being traced in this thread; replicas are traced by turns, each in a thread of its own."""

    graph: Any = None
    calls: list[Call]
    activations: dict[str, Activation]


_TRACE = _Trace()


@contextmanager
def recording_enabled(model: Any) -> Iterator[None]:
    """While it lasts, every layer of the model tells each `recording` what it gives."""
    labels = LayerNames(model)

    def recording_call(layer: Any) -> Callable:
        return _recording_call(layer, labels if layer is model else None)

    with patched_attribute(all_layers(model), recording_call):
        yield


@contextmanager
def record_activations() -> Iterator[dict[str, Activation]]:
    """The activations of the model's calls in the present graph, by layer, where the model is `telling`.

    Of a layer that is called more than once the last call stays. What is computed in an inner graph, such as the body
    of a loop, cannot be seen from outside and is left out.
    """
    _TRACE.graph = tf.compat.v1.get_default_graph()
    _TRACE.calls = []
    _TRACE.activations = {}
    try:
        yield _TRACE.activations
    finally:
        _TRACE.graph = None


def _recording_call(layer: Any, labels: LayerNames | None) -> Callable:
    call = layer.call

    @functools.wraps(call)
    def record_call(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        if (
            _TRACE.graph is not None
            and getattr(outputs, "graph", None) is _TRACE.graph
        ):
            _TRACE.calls.append((layer, outputs))
            if labels is not None:  # the whole model has been called
                named = _named_activations(_TRACE.calls, labels)
                _TRACE.activations.update(named)
                _TRACE.calls.clear()
        return outputs

    return record_call


def _named_activations(
    calls: list[Call], labels: LayerNames
) -> dict[str, Activation]:
    """Those of the calls, in order, that have an activation; a container gives the tensor of its last layer again."""
    outputs = {output.name for _, output in calls}
    activations = {}
    seen = set()
    depth = 0
    for layer, output in calls:
        depth = labels.depth(layer, depth)
        if output.name in seen:
            continue
        seen.add(output.name)
        activation = activation_of(layer, output, outputs)
        if activation is not None:
            label = labels.label(layer, depth)
            activations[label] = activation
    return activations


def activation_of(
    layer: Any, output: Tensor, outputs: set[str]
) -> Activation | None:
    """Return the activation that is last in a layer, or alone right behind it in models that call functions themselves.

    Args:
        layer: a Keras layer.
        output: what it gave.
        outputs: the names of what all layers gave.
    """
    # A layer that holds others may use its activation anywhere inside, a recurrent one excepted.
    ends_in_it = not layer._layers or isinstance(layer, keras.layers.RNN)
    function = None
    if ends_in_it:
        function = getattr(layer, "activation", None)
    name = _OPS.get(output.op.type) or _LAYERS.get(type(layer))
    if name is None and callable(function):
        name = getattr(function, "__name__", "custom")
    if name in _NOT_BY_UNIT:
        name = None
    if name is not None:
        return Activation(name, output)
    consumers = _all_consumers(output)
    if len(consumers) != 1:
        return None
    [consumer] = consumers
    if consumer.type not in _OPS:
        return None
    values = consumer.outputs[0]
    is_of_layer = bool(_names_of_output(values) & outputs)
    return None if is_of_layer else Activation(_OPS[consumer.type], values)


def _all_consumers(output: Tensor) -> list:
    """The operations that get it, also where a custom gradient stands between."""
    consumers = [op for op in output.consumers() if op.type != _PASSES_ON]
    for copy in _passed_on(output):
        consumers += _all_consumers(copy)
    return consumers


def _names_of_output(output: Tensor) -> set[str]:
    """Its name, and those that it has behind a custom gradient."""
    return {output.name}.union(*map(_names_of_output, _passed_on(output)))


def _passed_on(output: Tensor) -> list[Tensor]:
    """The same numbers, as custom gradients give them."""
    copies = []
    for op in output.consumers():
        if op.type != _PASSES_ON:
            continue
        for value, copy in zip(op.inputs, op.outputs, strict=True):
            if value.name == output.name:
                copies.append(copy)
    return copies


class LayerNames:
    """The names of layers: those of their parameters, such as `002.encoder.dense`, or else a place and a path.

    A layer without parameters has the number of the last layer before it that has some.
    """

    def __init__(self, model: Any):
        self._by_variable = {}
        for variable, name in names_by_id(model).items():
            self._by_variable[variable] = name.rpartition("/")[0]
        self._paths = {id(model): model.name}
        self._walk_layers(model, "")

    def _walk_layers(self, layer: Any, above: str) -> None:
        for child in layer._layers:
            if id(child) not in self._paths:
                self._paths[id(child)] = above + child.name
                self._walk_layers(child, f"{above}{child.name}.")

    def depth(self, layer: Any, previous: int) -> int:
        """Return how many layers with parameters come up to a layer.

        Args:
            layer: a layer of the model.
            previous: the depth of the layer called before it, which counts for a layer without parameters.
        """
        names = self._own_labels(layer)
        return int(names[-1].partition(".")[0]) if names else previous

    def label(self, layer: Any, depth: int) -> str:
        """Return the name of a layer in tags, such as `000.dense`.

        Args:
            layer: a layer of the model.
            depth: that of the layer.
        """
        names = self._own_labels(layer)
        if len(set(names)) == 1 and not layer._layers:
            return names[0]
        return f"{depth:03d}.{self._paths[id(layer)]}"

    def _own_labels(self, layer: Any) -> list[str]:
        return [
            self._by_variable[id(variable)]
            for variable in layer.weights
            if id(variable) in self._by_variable
        ]
