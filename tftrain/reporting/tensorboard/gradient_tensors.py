"""The tensors that TensorBoard's Gradients tab draws: of each point what there is of every parameter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_TENSOR,
    SummaryMetadata,
)

from tftrain.reporting.tensorboard.event_file import (
    EventFile,
    float_tensors,
    safe_tag,
)
from tftrain.reporting.tensorboard.protocol import (
    NONE,
    OF_LAYERS,
    PLUGIN,
    TENSORS,
    VERSION,
)


class Table(NamedTuple):
    """Where the numbers of a tensor, [parameters, quantities], stand among the scalars; -1 is nowhere."""

    tag: str
    places: np.ndarray
    parameters: tuple[str, ...]


def table_values(
    file: EventFile,
    scalars: Mapping[str, float],
    numbers: np.ndarray,
    sizes: Mapping[str, int],
) -> bytes:
    """Return the values of a summary: the tensors of one point.

    Args:
        file: the event file that they are for.
        scalars: of the point, by name.
        numbers: their values, [scalars].
        sizes: number of elements of each parameter; written with the first tensor, as the
            names are.
    """
    values = []
    for tag, places, parameters in _tables_of(tuple(scalars)):
        [tensor] = float_tensors([np.append(numbers, NONE)[places]])
        values.append(
            file.tensor(
                tag,
                tensor,
                _metadata(tag, parameters, tuple(map(sizes.get, parameters))),
            )
        )
    return b"".join(values)


@lru_cache(maxsize=16)
def _tables_of(names: tuple[str, ...]) -> list[Table]:
    """Those that scalars with these names have something for."""
    place_of = {name: place for place, name in enumerate(names)}
    parameters = tuple(
        name.partition("/")[2]
        for name in names
        if name.startswith("grad_norm/")
    )
    layers = {
        quantity: [
            name.partition("/")[2]
            for name in names
            if name.startswith(f"{quantity}/")
        ]
        for quantity in OF_LAYERS
    }
    tables = []
    for tag, quantities in TENSORS.items():
        rows = [
            [
                place_of.get(
                    _scalar_name(quantity, parameter, layers.get(quantity, [])),
                    -1,
                )
                for quantity in quantities
            ]
            for parameter in parameters
        ]
        if any(place >= 0 for row in rows for place in row):
            tables.append(Table(tag, np.array(rows, np.intp), parameters))
    return tables


def _scalar_name(quantity: str, parameter: str, layers: Sequence[str]) -> str:
    """The name of a parameter's scalar; of an activation it is its layer's, or that of one that follows it.

    `layers` are those that have the quantity, where it is one of layers.
    """
    if quantity not in OF_LAYERS:
        return f"{quantity}/{parameter}"
    layer = parameter.rpartition("/")[0]
    number = layer.partition(".")[0]
    following = (
        name for name in sorted(layers) if name.partition(".")[0] == number
    )
    return f"{quantity}/{layer if layer in layers else next(following, layer)}"


@lru_cache(maxsize=16)
def _metadata(
    tag: str, parameters: tuple[str, ...], sizes: tuple[int | None, ...]
) -> bytes:
    named = [
        safe_tag(parameter) for parameter in parameters
    ]  # as in the tags of histograms
    content = {
        "version": VERSION,
        "parameters": named,
        "sizes": sizes,
        "quantities": TENSORS[tag],
    }
    plugin_data = SummaryMetadata.PluginData(
        plugin_name=PLUGIN, content=json.dumps(content).encode()
    )
    return SummaryMetadata(
        plugin_data=plugin_data, data_class=DATA_CLASS_TENSOR
    ).SerializeToString()
