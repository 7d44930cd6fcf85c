"""What modules below the components know of one: enough to read it and to say where in the config it stands."""

from __future__ import annotations

from typing import Any, Protocol

from tftrain.config.yaml_parser import SourceLocation


class ComponentLike(Protocol):
    """A component that the config names; `tftrain.config.component.Component` is the one implementation."""

    kind: str  # of COMPONENT_KINDS, such as "optimizer"
    name: str  # as it is listed, or a dotted path
    target: str  # "package.module:name"
    given: dict[str, Any]  # the arguments that the config gives
    place: SourceLocation
    path: str  # its key path in the config

    @property
    def arguments(self) -> dict[str, Any]:
        """Every argument with its value, defaults filled in."""

    def function(self) -> Any:
        """Return the function or class that the component names."""
