"""What checking a config finds: the value at every key path, and everything that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tftrain.config.yaml_parser import Place, problem

INVALID = object()  # stands for a value that was reported already


class Findings:
    """Keeps each checked value with its place, and each problem."""

    def __init__(self):
        self._problems: list[tuple[Place, str]] = []
        self._values: dict[str, tuple[Place, Any]] = {}  # by key path

    def keep(self, place: Place, path: str, value: Any) -> Any:
        self._values[path] = (place, value)
        return value

    def report(self, place: Place, path: str, message: str) -> object:
        self._problems.append((place, problem(place, path, message)))
        return INVALID

    def valid(self, paths: Sequence[str]) -> list | None:
        """The values at all of the key paths; None where one is missing or wrong."""
        found = [self._values[path][1] for path in paths if path in self._values]
        return found if len(found) == len(paths) and not any(value is INVALID for value in found) else None

    def place(self, path: str) -> Place:
        """Where the value at a key path stands, or the mapping that it would stand in."""
        return self._values[path if path in self._values else path.rpartition(".")[0]][0]

    def places(self) -> dict[str, Place]:
        """Where each value stands, by its key path."""
        return {path: place for path, (place, _) in self._values.items()}

    def problems(self) -> list[str]:
        """The problems by file and line, those of flags last."""
        return [line for _, line in sorted(self._problems, key=lambda one: (one[0].line == 0, one[0]))]
