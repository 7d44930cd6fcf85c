"""A part as a config chose it: its name, where it comes from, its checked arguments."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from dataclasses import dataclass, field, replace
from typing import Any

from tftrain.config import arguments, field_types, importing, registry
from tftrain.config.signature import OPAQUE_DEFAULT
from tftrain.config.yaml_parser import SourceLocation
from tftrain.runtime.errors import ImportPathError

_IN_GRAPH = (
    "clip",
    "schedule",
    "method",
    "preprocess",
    "probe",
)  # what is built there runs in the graph, called by us


@dataclass(frozen=True)
class Component:
    kind: str
    name: str  # as it is listed; a dotted path stands for itself
    target: str  # "package.module:name"
    given: dict[str, Any] = field(
        default_factory=dict
    )  # the arguments the config wrote
    place: SourceLocation = field(
        default=SourceLocation("default"), compare=False
    )
    path: str = field(default="", compare=False)  # its key path in the config

    @property
    def arguments(self) -> dict[str, Any]:
        """Every argument with its value, the defaults filled in."""
        known = arguments.arguments_of(self.kind, self.target).given
        return {
            name: self.given.get(name, argument.default)
            for name, argument in known.items()
            if name in self.given or argument.default is not OPAQUE_DEFAULT
        }

    def plain(self, short: bool = False) -> Any:
        """As YAML would say it; `short` leaves the defaults out."""
        known = arguments.arguments_of(self.kind, self.target).given
        values = self.given if short else self.arguments
        written = {
            name: _as_listed(value, known[name].hint)
            for name, value in values.items()
        }
        return {"name": self.name, **written} if written else self.name

    def with_steps(self, steps_per_epoch: int) -> Component:
        """The same part with every stretch such as '2 epochs' among its arguments, however deep, as steps."""
        hints = {
            name: argument.hint
            for name, argument in arguments.arguments_of(
                self.kind, self.target
            ).given.items()
        }
        converted = {
            name: _in_steps(value, hints[name], steps_per_epoch)
            for name, value in self.given.items()
        }
        return replace(self, given=converted)

    def function(self) -> Any:
        """What the part names, itself."""
        return importing.import_object(self.target)

    def build(self, **injected: Any) -> Any:
        """Call the part; `house` holds what a builder can ask for by keyword-only arguments.

        A picture, or a schedule that is a plain function of the step, is not called yet: that function is built.
        """
        function, call_arguments = (
            self.function(),
            self.call_arguments(**injected),
        )
        later = (
            self.kind == "picture"
            or self.kind == "schedule"
            and arguments.takes_step(self.target)
        )
        built = (
            functools.partial(function, **call_arguments)
            if later
            else function(**call_arguments)
        )
        if self.kind not in _IN_GRAPH or self.target.startswith(
            importing.BUILTIN_PREFIXES
        ):
            return built
        from tftrain.config.keras_objects import (
            with_autograph,
        )  # TensorFlow is imported only when something is built

        return with_autograph(built)

    def call_arguments(self, **injected: Any) -> dict[str, Any]:
        """What the part is called with: its own arguments, built, and what it asks of the house."""
        known = arguments.arguments_of(self.kind, self.target)
        own_arguments = {
            name: value
            for name, value in self.arguments.items()
            if name not in known.options
        }
        return instantiate(own_arguments) | {
            name: injected[name] for name in known.house if name in injected
        }

    def option(self, name: str) -> Any:
        """What the config gave for an option of the kind; None where nothing, or where the part means its own by it."""
        return (
            self.given.get(name)
            if name in arguments.arguments_of(self.kind, self.target).options
            else None
        )


def _as_listed(value: Any, hint: Any) -> Any:
    """An argument as YAML would say it; the name of a part that is a default as reading it back will give it."""
    if isinstance(value, list):
        return [_as_listed(item, field_types.item_hint(hint)) for item in value]
    if isinstance(value, str) and field_types.part_kind(hint):
        with contextlib.suppress(ImportPathError):
            return registry.find(field_types.part_kind(hint), value)[0]
    return plain(value)


# Parts that Keras takes as objects of its own, by name, or as functions.
_BY_NAME = {"activation", "initializer", "regularizer", "constraint"}


def _in_steps(value: Any, hint: Any, steps_per_epoch: int) -> Any:
    if isinstance(value, Component):
        return value.with_steps(steps_per_epoch)
    if isinstance(value, list):
        return [
            _in_steps(item, field_types.item_hint(hint), steps_per_epoch)
            for item in value
        ]
    return (
        field_types.in_steps(value, steps_per_epoch)
        if field_types.is_time(hint) and isinstance(value, str)
        else value
    )


def instantiate(value: Any) -> Any:
    """A value with every part in it built."""
    if isinstance(value, Component):
        if value.kind in _BY_NAME and value.target.startswith("keras."):
            return _keras_object(value)
        if value.kind in _BY_NAME:
            return _own_object(value)
        return value.build()
    if isinstance(value, list):
        return [instantiate(item) for item in value]
    if isinstance(value, dict):
        return {key: instantiate(item) for key, item in value.items()}
    return value


def _keras_object(part: Component) -> Any:
    """What Keras takes: a name where it can, of which it makes a new object for every use, as random weights need."""
    known = arguments.arguments_of(part.kind, part.target)
    if not part.given and (known.kind == "function" or "seed" in known.given):
        return part.target.partition(":")[2]
    if known.kind == "class":
        return part.build()
    from tftrain.config.keras_objects import (
        ConfiguredFunction,
    )  # Keras is imported only when something is built

    return ConfiguredFunction(part.target, part.arguments)


def _own_object(part: Component) -> Any:
    """A user's function is what Keras calls; a class is made first."""
    from tftrain.config.keras_objects import ConfiguredFunction

    function = part.function()
    if arguments.arguments_of(part.kind, part.target).kind == "class":
        return function(**instantiate(part.arguments))
    by_name = inspect.isfunction(function) or hasattr(
        function, "get_config"
    )  # what tf.custom_gradient makes is neither
    return (
        function
        if by_name and not part.given
        else ConfiguredFunction(part.target, part.arguments)
    )


def user_components(value: Any) -> list[Component]:
    """The users' own parts in a config or a value of one, however deep."""
    if dataclasses.is_dataclass(value) and not isinstance(value, Component):
        return [
            part
            for item in dataclasses.fields(value)
            for part in user_components(getattr(value, item.name))
        ]
    if isinstance(value, Component):
        inner = [
            part
            for item in value.given.values()
            for part in user_components(item)
        ]
        return (
            inner
            if value.target.startswith(importing.BUILTIN_PREFIXES)
            else [value, *inner]
        )
    return (
        [part for item in value for part in user_components(item)]
        if isinstance(value, list)
        else []
    )


def user_components_note(value: Any) -> str:
    """Which of the users' own parts run in a step, for the end of a line about a fault there."""
    names = [
        f"{part.path} ({part.name})"
        for part in user_components(value)
        if part.kind not in ("data", "picture")
    ]
    return f"; of your own run in a step: {', '.join(names)}" if names else ""


def schedules(value: Any, path: str) -> dict[str, Component]:
    """Every learning rate in a part, however deep, by its key path."""
    if not isinstance(value, Component):
        return {}
    by_path = {path: value} if value.kind == "schedule" else {}
    for name, argument in value.arguments.items():
        by_path |= schedules(argument, f"{path}.{name}")
    return by_path


def rate_boundaries(value: Any, path: str) -> dict[str, list[int | str]]:
    """Those of Keras' piecewise rates, under their key paths."""
    stepped = {
        key: component
        for key, component in schedules(value, path).items()
        if component.target.startswith("keras.")
    }
    return {
        f"{key}.boundaries": component.given["boundaries"]
        for key, component in stepped.items()
        if "boundaries" in component.given
    }


def plain(value: Any) -> Any:
    """A value as YAML would say it."""
    if isinstance(value, Component):
        return value.plain(short=value.kind in _BY_NAME)
    if dataclasses.is_dataclass(value):
        return {
            field_.name: plain(getattr(value, field_.name))
            for field_ in dataclasses.fields(value)
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
