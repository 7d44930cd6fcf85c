"""The rows of a run's map: its parameters, or its layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tftrain.reporting.tensorboard.protocol import TENSORS, VERSION

LAYERS = "layers"
PARAMETERS = "parameters"
_MAX_SIZE = 2**53


class Damaged(ValueError):
    """The files of a run cannot be read."""


class Layout(NamedTuple):
    """The parameters of a run.

    Attributes:
        parameters: names in the model's order.
        sizes: number of values of each; None where it is not known.
    """

    parameters: list[str]
    sizes: list[int | None]

    def group_rows(self, kind: str) -> dict[str, list[int]]:
        """Return the indices of the parameters of each row, by the name of the row.

        Args:
            kind: LAYERS or PARAMETERS.
        """
        rows: dict[str, list[int]] = {}
        for index, name in enumerate(self.parameters):
            layer = name.rpartition("/")[0]
            row = layer if kind == LAYERS and layer else name
            rows.setdefault(row, []).append(index)
        return rows


def read_layout(tags: Mapping[str, bytes]) -> Layout:
    """Return the layout in the metadata of a run's tensors.

    Args:
        tags: content of the metadata of each tensor.

    Raises:
        Damaged: the metadata are not those of a run.
    """
    content = next((tags[tag] for tag in TENSORS if tag in tags), None)
    if content is None:
        raise Damaged(f"it has no tensor {' or '.join(TENSORS)}")
    unreadable = "the names of its parameters cannot be read"
    try:
        layout = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{unreadable}: expected JSON") from error
    if not isinstance(layout, dict) or "version" not in layout:
        raise Damaged(f"{unreadable}: expected a version, parameters and sizes")
    version = layout["version"]
    if version != VERSION:
        raise Damaged(
            "it was written by another version of tftrain:"
            f" its map is of version {version!r:.20}"
        )
    parameters = layout.get("parameters")
    sizes = layout.get("sizes")
    if not _are_names(parameters) or not _are_sizes(sizes, len(parameters)):
        raise Damaged(f"{unreadable}: expected a size for each of them")
    return Layout(parameters, sizes)


def _are_names(names: Any) -> bool:
    if not isinstance(names, list) or not names:
        return False
    if not all(isinstance(name, str) for name in names):
        return False
    return len(set(names)) == len(names)


def _are_sizes(sizes: Any, count: int) -> bool:
    if not isinstance(sizes, list) or len(sizes) != count:
        return False
    return all(size is None or _is_size(size) for size in sizes)


def _is_size(size: Any) -> bool:
    if not isinstance(size, int) or isinstance(size, bool):
        return False
    return 0 <= size < _MAX_SIZE
