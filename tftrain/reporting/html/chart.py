"""Curves as inline SVG, drawn small enough to be read at the width of a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tftrain.reporting.html.axis import RATIO, Axis, spanning
from tftrain.reporting.html.markup import Markup, element, joined
from tftrain.reporting.plots.curves import running

WIDTH, HEIGHT = 360, 216
_LEFT, _RIGHT, _TOP, _BOTTOM = (
    46,
    12,
    8,
    24,
)  # the left margin is wider where numbers are
_DIGIT = 6.2  # the width of one
MOST_POINTS = (
    1000  # of a drawn curve; of more the least and the most of neighbours are drawn
)
_SMOOTH = (
    20  # a running mean is drawn over this share of the points, where there are many
)
_LOW = 0.1  # the share of values that do not make an axis logarithmic, such as the end of a rate that decays to 0
_MEANS = 200  # points of a drawn running mean, which is smooth


@dataclass(frozen=True)
class Curve:
    """`steps` and `values` [points], and how they are drawn: `colour` is a number, as in the page's style."""

    label: str
    colour: int
    steps: np.ndarray
    values: np.ndarray
    dash: str = ""  # or dashed, dotted, dashdot
    faint: bool = False
    smooth: bool = True  # of many points a running mean is drawn


def chart(
    title: str, curves: Sequence[Curve], logarithmic: bool | None = None
) -> Markup:
    """A figure; the axis is logarithmic where all is above 0 and far apart, unless it is said."""
    values = np.concatenate(
        [curve.values[np.isfinite(curve.values)] for curve in curves]
    )
    if logarithmic is None:
        logarithmic = (
            bool(len(values))
            and values.min() > 0
            and values.max() > RATIO * np.quantile(values, _LOW)
        )
    shown = values[values > 0] if logarithmic else values
    steps = np.concatenate([curve.steps for curve in curves])
    up = spanning(shown, HEIGHT - _BOTTOM, _TOP + _BOTTOM - HEIGHT, bool(logarithmic))
    left = max(
        _LEFT, 10 + _DIGIT * max((len(words) for _, words in up.ticks(5)), default=0)
    )
    alone = 0.5 if steps.min() == steps.max() else 0.0
    across = Axis(
        float(steps.min() - alone),
        float(steps.max() + alone),
        left,
        WIDTH - left - _RIGHT,
    )
    drawn = [_drawn(curve, across, up) for curve in curves]
    picture = element(
        "svg",
        _frame(across, up),
        *drawn,
        *(_marks(curve, across, up) for curve in curves),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {'; '.join(_told(curve) for curve in curves)}",
        data_x=f"{across.low} {across.high} {across.start} {across.length}",
        data_y=f"{up.low} {up.high} {up.start} {up.length} {int(up.logarithmic)}",
    )
    return element(
        "figure", element("figcaption", element("b", title), *_legend(curves)), picture
    )


def _frame(across: Axis, up: Axis) -> Markup:
    """Grid, ticks and their words."""
    left, right, bottom = across.start, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for value, words in up.ticks(5):
        place = f"{float(up.places(np.array(value))):.1f}"
        parts.append(element("path", d=f"M{left} {place}H{right}", class_="grid"))
        parts.append(element("text", words, x=left - 5, y=place, class_="up"))
    for value, words in across.whole_ticks(4):
        place = float(across.places(np.array(value)))
        parts.append(element("path", d=f"M{place:.1f} {bottom}v4", class_="tick"))
        within = min(place, WIDTH - _DIGIT / 2 * len(words))
        parts.append(
            element("text", words, x=f"{within:.1f}", y=HEIGHT - 7, class_="across")
        )
    name = element("text", "step", x=left - 5, y=HEIGHT - 11, class_="up")
    return joined(
        *parts, name, element("path", d=f"M{left} {bottom}H{right}", class_="tick")
    )


def _drawn(curve: Curve, across: Axis, up: Axis) -> Markup:
    """The points as polylines that break where there is none; of many also the running mean."""
    steps, values = thinned(curve.steps, curve.values)
    smooth = len(steps) >= 4 * _SMOOTH and curve.smooth
    style = f"c{curve.colour} {curve.dash}".strip()
    parts = [
        element(
            "g",
            *_lines(steps, values, across, up),
            class_="faint" if smooth or curve.faint else None,
        )
    ]
    if smooth:
        mean = running(curve.values, len(curve.values) // _SMOOTH)
        every = -(-len(mean) // _MEANS)
        parts.append(
            element(
                "g",
                *_lines(curve.steps[::every], mean[::every], across, up),
                class_="mean",
            )
        )
    return element("g", *parts, class_=style, data_label=curve.label)


def _lines(
    steps: np.ndarray, values: np.ndarray, across: Axis, up: Axis
) -> list[Markup]:
    there = np.isfinite(values) & ((values > 0) | (not up.logarithmic))
    ends = np.flatnonzero(np.diff(there.astype(int))) + 1
    pieces = [
        piece
        for piece in np.split(np.arange(len(steps)), ends)
        if len(piece) and there[piece[0]]
    ]
    return [
        _line(across.places(steps[piece]), up.places(values[piece])) for piece in pieces
    ]


def _line(x: np.ndarray, y: np.ndarray) -> Markup:
    points = [
        f"{_shortest(one, 2)},{_shortest(other, 1)}"
        for one, other in zip(x, y, strict=True)
    ]
    alone = (
        len(points) == 1
    )  # a line of one point is drawn as a dot where it is as long as nothing
    return element(
        "polyline",
        points=" ".join(points * 2 if alone else points),
        class_="dot" if alone else None,
    )


def _shortest(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _marks(curve: Curve, across: Axis, up: Axis) -> Markup | None:
    """Strokes at the top where values are not finite."""
    bad = np.unique(np.round(across.places(curve.steps[~np.isfinite(curve.values)])))
    if not len(bad):
        return None
    return element(
        "path", d="".join(f"M{place:g} {_TOP}v10" for place in bad), class_="nonfinite"
    )


def _legend(curves: Sequence[Curve]) -> list[Markup]:
    keys = [
        (curve.label, f"c{curve.colour} {curve.dash}{' faint' * curve.faint}")
        for curve in curves
    ]
    keys = keys if len(keys) > 1 else []
    if any(not np.isfinite(curve.values).all() for curve in curves):
        keys.append(("NaN or infinite", "nonfinite"))
    return [
        element("span", element("i", class_=style), label, class_="key")
        for label, style in keys
    ]


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST_POINTS: of neighbours the least and the most, or one that is not finite."""
    if len(steps) <= MOST_POINTS:
        return steps, values
    kept = [0, len(steps) - 1]
    for piece in np.array_split(np.arange(len(steps)), MOST_POINTS // 2 - 1):
        bad = piece[~np.isfinite(values[piece])]
        kept += (
            [bad[0]]
            if len(bad)
            else [piece[values[piece].argmin()], piece[values[piece].argmax()]]
        )
    kept = np.unique(kept)
    return steps[kept], values[kept]


def _told(curve: Curve) -> str:
    """The curve in words, for who cannot see it."""
    finite = curve.values[np.isfinite(curve.values)]
    if not len(finite):
        return f"{curve.label} is never finite"
    course = f"from {finite[0]:.3g} to {finite[-1]:.3g}, least {finite.min():.3g}, most {finite.max():.3g}"
    return f"{curve.label} {course}"
