"""The gradient norm of every layer at every step as a picture: gradients flow from its bottom row to its top row."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tftrain.reporting.html.axis import Axis
from tftrain.reporting.html.markup import Markup, element
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.tensorboard.protocol import NONE

NORM = "grad_norm/"
MOST_COLUMNS = 600
ZERO, NOT_FINITE, LACKING = 0, 1, 2  # of the colours, which go on with the scale
# The scale goes by the runs that are compared:
_ENDS = 0.01  # this share of a run's values at either end has the colour of the end
_FURTHER_DOWN, _FURTHER_UP = (
    6,
    3,
)  # decades by which runs may stretch the scale of at least as many others,
_LEAST, _MOST = -10, 4  # or up to these
# Viridis (van der Walt and Smith, 2015): even steps look even, also to the colour-blind, and in grey.
_VIRIDIS = (
    *(
        "440154",
        "48186a",
        "472d7b",
        "424086",
        "3b528b",
        "33638d",
        "2c728e",
        "26828e",
        "21918c",
    ),
    *("1f9f88", "27ad81", "3dbc74", "5cc863", "81d34d", "aadc32", "d5e21a", "fde725"),
)
_SHADES = 253


class Flow(NamedTuple):
    """Gradient norms [layers, points] of layers in the order of their depth, NONE where a layer has none at a step."""

    layers: list[str]
    steps: np.ndarray
    norms: np.ndarray


class Scale(NamedTuple):
    """The logarithms that have the first and the last shade."""

    low: float
    high: float


def flow(history: Mapping[str, Series]) -> Flow | None:
    """The norm of each layer, which is that of its parameters together; None where there is none."""
    layers: dict[str, list[Series]] = {}
    for name, series in history.items():
        if name.startswith(NORM):
            layers.setdefault(name.removeprefix(NORM).rpartition("/")[0], []).append(
                series
            )
    if not layers:
        return None
    steps = np.unique(
        np.concatenate(
            [one.steps for parameters in layers.values() for one in parameters]
        )
    )
    norms = np.full((len(layers), len(steps)), NONE)
    for row, parameters in zip(norms, layers.values(), strict=True):
        for one in parameters:
            places = np.searchsorted(steps, one.steps)
            row[places] = np.hypot(
                np.where(row[places] == NONE, 0, row[places]), one.values
            )
    return Flow(list(layers), steps, norms)


def shared_scale(flows: list[Flow]) -> Scale:
    """One scale for all runs, over a decade at least; those that explode do not make all others look alike."""
    known = [one.norms[np.isfinite(one.norms) & (one.norms > 0)] for one in flows]
    ends = [
        np.quantile(np.log10(norms), [_ENDS, 1 - _ENDS])
        for norms in known
        if len(norms)
    ]
    if not ends:
        return Scale(-1.0, 0.0)
    lows, highs = (
        np.sort([low for low, _ in ends]),
        np.sort([high for _, high in ends])[::-1],
    )
    middle = len(ends) // 2
    low = max(lows[0], min(lows[middle] - _FURTHER_DOWN, _LEAST))
    high = min(highs[0], max(highs[middle] + _FURTHER_UP, _MOST))
    lacking = max(0.0, 1 - (high - low)) / 2
    return Scale(float(low - lacking), float(high + lacking))


def heat_map(name: str, found: Flow, scale: Scale) -> Markup:
    """A figure; each point's column reaches back to the point before it."""
    first, last = int(found.steps[0]) - 1, int(found.steps[-1])
    picture = png(shades(columns(found), scale))
    finite = np.isfinite(found.norms)
    told = f"{len(found.layers)} layers over steps {first + 1} to {last}"
    told += f", exactly zero in {(found.norms == 0).mean():.1%}, NaN or infinite in {(~finite).mean():.1%} of the cells"
    image = element(
        "img",
        src=f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        alt=f"{name}: log10 of the gradient norm of {told}",
        data_steps=f"{first} {last}",
    )
    labels = element(
        "ol", *(element("li", layer, title=layer) for layer in found.layers), start=0
    )
    axis = Axis(first, last, 0, 100)
    ticks = [_tick(axis, value, words) for value, words in axis.whole_ticks(5)]
    size = (
        "few"
        if len(found.layers) <= 24
        else "many"
        if len(found.layers) <= 64
        else "most"
    )
    grid = element(
        "div",
        labels,
        image,
        element("span", "step"),
        element("div", *ticks, class_="steps"),
        class_=f"heat {size}",
    )
    return element(
        "figure",
        element("figcaption", element("b", name)),
        grid,
        style=f"--rows:{len(found.layers)}",
    )


def columns(found: Flow) -> np.ndarray:
    """[layers, points] -> [layers, columns] at even steps; where points share a column it has their largest norm."""
    first, last = int(found.steps[0]) - 1, int(found.steps[-1])
    edges = np.linspace(first, last, min(last - first, MOST_COLUMNS) + 1)
    after = np.searchsorted(found.steps, edges, side="right")
    begins, ends = after[:-1], np.maximum(after[1:], after[:-1] + 1)
    return np.stack(
        [found.norms[:, a:b].max(1) for a, b in zip(begins, ends, strict=True)], 1
    )


def shades(norms: np.ndarray, scale: Scale) -> np.ndarray:
    """Numbers of colours, uint8 like `norms`."""
    finite = np.isfinite(norms)
    logs = np.log10(np.where(finite & (norms > 0), norms, 1.0))
    place = np.clip((logs - scale.low) / (scale.high - scale.low), 0, 1)
    shade = LACKING + 1 + np.round(place * (_SHADES - 1))
    return np.select(
        [~finite, norms == 0, norms == NONE], [NOT_FINITE, ZERO, LACKING], shade
    ).astype(np.uint8)


def palette() -> np.ndarray:
    """Black, magenta, what is seen through, and the shades of the scale, [256, red green blue]."""
    anchors = np.array(
        [[int(one[at : at + 2], 16) for at in (0, 2, 4)] for one in _VIRIDIS]
    )
    places = np.linspace(0, len(anchors) - 1, _SHADES)
    scale = np.stack(
        [np.interp(places, np.arange(len(anchors)), channel) for channel in anchors.T],
        1,
    )
    return np.concatenate(
        [[[0, 0, 0], [255, 0, 255], [0, 0, 0]], np.round(scale)]
    ).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Numbers of colours, uint8 [height, width], as a PNG with the palette."""
    height, width = pixels.shape
    rows = np.pad(
        pixels, ((0, 0), (1, 0))
    ).tobytes()  # each row begins with its filter, which is none
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette().tobytes()),
        (b"tRNS", bytes([255, 255, 0])),  # of the first colours
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )


def legend(scale: Scale) -> Markup:
    """The colours and what they stand for."""
    axis = Axis(scale.low, scale.high, 0, 100, logarithmic=True)
    ticks = [_tick(axis, value, words) for value, words in axis.ticks(5)]
    ramp = element(
        "div",
        class_="ramp",
        style=f"background:linear-gradient(90deg,#{',#'.join(_VIRIDIS)})",
    )
    names = ("zero", "exactly zero"), ("nonfinite", "NaN or infinite")
    keys = [
        element("span", element("i", class_=style), words, class_="key")
        for style, words in names
    ]
    data = {"data_ramp": " ".join(_VIRIDIS), "data_scale": f"{scale.low} {scale.high}"}
    return element(
        "div",
        element("span", "gradient norm"),
        element("div", ramp, *ticks),
        *keys,
        class_="legend",
        **data,
    )


def _tick(axis: Axis, value: float, words: str) -> Markup:
    place = float(axis.places(np.array(value)))
    within = ";transform:translateX(-100%)" if place > 95 else ""  # the page ends there
    return element("span", words, style=f"left:{place:.2f}%{within}")
