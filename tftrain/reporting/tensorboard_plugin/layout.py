"""What the rows of a run's map are: its parameters, or its layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tftrain.reporting.tensorboard.protocol import TENSORS, VERSION

LAYERS, PARAMETERS = "layers", "parameters"


class Damaged(ValueError):
    """What a run has written cannot be read."""


class Layout(NamedTuple):
    """The parameters of a run in the model's order, and how many numbers each has; None where that is not known."""

    parameters: list[str]
    sizes: list[int | None]

    def rows(self, kind: str) -> dict[str, list[int]]:
        """The rows of the map by name, and of each the places of its parameters; `kind` is LAYERS or PARAMETERS."""
        rows: dict[str, list[int]] = {}
        for place, name in enumerate(self.parameters):
            row = name.rpartition("/")[0] or name if kind == LAYERS else name
            rows.setdefault(row, []).append(place)
        return rows


def read_layout(tags: Mapping[str, bytes]) -> Layout:
    """The layout that the metadata of a run's tensors tell of; raises Damaged."""
    content = next((tags[tag] for tag in TENSORS if tag in tags), None)
    if content is None:
        raise Damaged(f"it has no tensor {' or '.join(TENSORS)}")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(
            "the names of its parameters cannot be read: expected JSON"
        ) from error
    if not isinstance(found, dict) or "version" not in found:
        raise Damaged(
            "the names of its parameters cannot be read: expected a version, parameters and sizes"
        )
    if found["version"] != VERSION:
        raise Damaged(
            f"it was written by another version of tftrain: its map is of version {found['version']!r:.20}"
        )
    if not _is_whole(found):
        raise Damaged(
            "the names of its parameters cannot be read: expected a size for each of them"
        )
    return Layout(found["parameters"], found["sizes"])


def _is_whole(found: Mapping[str, Any]) -> bool:
    parameters, sizes = found.get("parameters"), found.get("sizes")
    if (
        not isinstance(parameters, list)
        or not isinstance(sizes, list)
        or not parameters
    ):
        return False
    named = all(isinstance(name, str) for name in parameters) and len(
        set(parameters)
    ) == len(parameters)
    return (
        named
        and len(sizes) == len(parameters)
        and all(size is None or _is_size(size) for size in sizes)
    )


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**53
