"""What the layers of a model are called."""

from __future__ import annotations

from typing import Any

from tftrain.core.variables import named


class Labels:
    """The names of layers: those of their parameters, such as `002.encoder.dense`, or else a place and a path.

    A layer without parameters has the number of the last layer before it that has some.
    """

    def __init__(self, model: Any):
        self._by_variable = {variable: name.rpartition("/")[0] for variable, name in named(model).items()}
        self._paths = {id(model): model.name}
        self._walk(model, "")

    def _walk(self, layer: Any, above: str) -> None:
        for child in layer._layers:
            if id(child) not in self._paths:
                self._paths[id(child)] = above + child.name
                self._walk(child, f"{above}{child.name}.")

    def depth(self, layer: Any, before: int) -> int:
        own = self._own(layer)
        return int(own[-1].partition(".")[0]) if own else before

    def label(self, layer: Any, depth: int) -> str:
        own = self._own(layer)
        if len(set(own)) == 1 and not layer._layers:
            return own[0]
        return f"{depth:03d}.{self._paths[id(layer)]}"

    def _own(self, layer: Any) -> list[str]:
        return [self._by_variable[id(one)] for one in layer.weights if id(one) in self._by_variable]
