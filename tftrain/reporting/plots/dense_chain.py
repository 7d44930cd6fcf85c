"""A model as a chain of dense layers, for the plots that show each unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tftrain.core.types import PlotContext

# Relative distance from the gradient that still counts as equal: half precision rounds by a hundredth.
_CLOSE = 0.02

# Layers that apply a function and nothing else, and those that change no number.
_FUNCTIONS = {"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"}
_SHAPES = {"InputLayer", "Flatten", "Reshape", "Sequential", "Functional"}


class Dense(NamedTuple):
    """A dense layer of the network, with what went through it forward and back.

    Attributes:
        name: of the layer.
        kernel: its weights, [inputs, units].
        bias: [units], or None.
        inputs: output of the layer before it, [batch, inputs].
        z: weighted sums, [batch, units].
        a: output of the activation function, [batch, units].
        delta: gradient of the loss with respect to z, [batch, units].
        arrived: gradient of the loss with respect to a, [batch, units].
        function: name of the activation function, or None.
    """

    name: str
    kernel: np.ndarray
    bias: np.ndarray | None
    inputs: np.ndarray
    z: np.ndarray
    a: np.ndarray
    delta: np.ndarray
    arrived: np.ndarray
    function: str | None


def dense_chain(scene: PlotContext) -> list[Dense]:
    """Return the dense layers that follow one another from the input to the loss.

    Raises:
        ValueError: the network has other layers, or others between these.
    """
    params = dict(zip(scene.names, scene.params, strict=True))
    grads = dict(zip(scene.passes.names, scene.passes.grads, strict=True))
    chain: list[Dense] = []
    x = scene.batch.x
    # Several inputs are no array; the empty one in their place fits no kernel.
    inputs = (
        np.reshape(x, (len(x), -1)) if hasattr(x, "shape") else np.empty((0, 0))
    )
    for layer in scene.passes.layers:
        kernel = params.get(f"{layer.name}/kernel")
        is_next = (
            layer.kind == "Dense"
            and kernel is not None
            and layer.a.ndim == 2
            and inputs.shape[1:] == kernel.shape[:1]
        )
        if is_next:
            dense = Dense(
                name=layer.name,
                kernel=kernel,
                bias=params.get(f"{layer.name}/bias"),
                inputs=inputs,
                z=layer.a if layer.z is None else layer.z,
                a=layer.a,
                delta=layer.delta,
                arrived=layer.arrived,
                function=layer.function,
            )
            chain.append(dense)
        elif (
            chain
            and layer.kind in _FUNCTIONS
            and layer.a.shape == chain[-1].a.shape
        ):
            function = layer.function or layer.kind.lower()
            chain[-1] = chain[-1]._replace(
                a=layer.a, arrived=layer.arrived, function=function
            )
        elif layer.kind not in _SHAPES:
            raise ValueError(
                f"given a network with {layer.name} ({layer.kind}); expected dense layers one behind the other"
            )
        if layer.a.shape[:1] == inputs.shape[:1]:
            inputs = layer.a.reshape(len(inputs), -1)

    reason = ""
    for layer in chain:
        if not _is_chain(layer, grads[f"{layer.name}/kernel"]):
            reason = (
                f" (the gradient of {layer.name}/kernel is not delta times a)"
            )
            break
    kernels = sum(name.endswith("/kernel") for name in scene.names)
    if reason or not chain or len(chain) < kernels:
        raise ValueError(
            f"given a network that cannot be drawn{reason}; expected dense layers one behind the other"
        )
    return chain


def _is_chain(layer: Dense, grad: np.ndarray | None) -> bool:
    """Whether the gradient is what the chain rule says it is with the layer's neighbours."""
    if grad is None or layer.delta is None:
        return False
    expected = layer.inputs.T.astype(np.float64) @ layer.delta
    if not np.isfinite(grad).all():
        return True
    distance = np.linalg.norm(expected - grad)
    return distance <= _CLOSE * np.linalg.norm(grad)
