"""A network of dense layers one behind the other, as the chain rule goes through it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tftrain.core.types import Scene

_CLOSE = 0.02  # of a gradient's norm: half precision rounds by a hundredth
_FUNCTIONS = {"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"}  # layers that apply a function and nothing else
_SHAPES = {"InputLayer", "Flatten", "Reshape", "Sequential", "Functional"}  # and those that change no number


class Dense(NamedTuple):
    """A dense layer of the network on its way there and back; `before` is what the layer before it gave."""

    name: str
    kernel: np.ndarray  # [before, units]
    bias: np.ndarray | None
    before: np.ndarray  # [batch, before]
    z: np.ndarray  # [batch, units]
    a: np.ndarray
    delta: np.ndarray  # the gradient of the loss with respect to z
    arrived: np.ndarray  # and with respect to a
    function: str | None


def layers(scene: Scene) -> list[Dense]:
    """The dense layers that follow one another from the input to the loss; raises ValueError for another network."""
    kernels = dict(zip(scene.names, scene.params, strict=True))
    grads = dict(zip(scene.passes.names, scene.passes.grads, strict=True))
    found, x = [], scene.batch.x
    before = np.reshape(x, (len(x), -1)) if hasattr(x, "shape") else np.empty((0, 0))  # which fits no kernel
    for one in scene.passes.layers:
        kernel = kernels.get(f"{one.name}/kernel")
        if one.kind == "Dense" and kernel is not None and one.a.ndim == 2 and before.shape[1:] == kernel.shape[:1]:
            z = one.a if one.z is None else one.z
            bias = kernels.get(f"{one.name}/bias")
            found.append(Dense(one.name, kernel, bias, before, z, one.a, one.delta, one.arrived, one.function))
        elif found and one.kind in _FUNCTIONS and one.a.shape == found[-1].a.shape:
            found[-1] = found[-1]._replace(a=one.a, arrived=one.arrived, function=one.function or one.kind.lower())
        elif one.kind not in _SHAPES:
            raise ValueError(
                f"given a network with {one.name} ({one.kind}); expected dense layers one behind the other"
            )
        if one.a.shape[:1] == before.shape[:1]:
            before = one.a.reshape(len(before), -1)
    wrong = next((one.name for one in found if not _is_chain(one, grads[f"{one.name}/kernel"])), None)
    if wrong is not None or not found or len(found) < sum(name.endswith("/kernel") for name in scene.names):
        said = f" (the gradient of {wrong}/kernel is not delta times a)" if wrong else ""
        raise ValueError(f"given a network that cannot be drawn{said}; expected dense layers one behind the other")
    return found


def _is_chain(layer: Dense, grad: np.ndarray | None) -> bool:
    """Whether the gradient is what the chain rule says it is with the layer's neighbours."""
    if grad is None or layer.delta is None:
        return False
    made = layer.before.T.astype(np.float64) @ layer.delta
    return not np.isfinite(grad).all() or np.linalg.norm(made - grad) <= _CLOSE * np.linalg.norm(grad)
