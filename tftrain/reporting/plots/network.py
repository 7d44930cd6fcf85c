"""A small network as the units and weights it is made of, with what goes forward and what comes back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tftrain.config.field_types import NonNegativeInt, PositiveInt
from tftrain.core.types import PlotContext
from tftrain.reporting.plots.placing import place_along
from tftrain.reporting.plots.style import (
    NOT_FINITE,
    PlotFigure,
    diverging_colormap,
    format_short,
)

_COLUMN, _ROW, _RADIUS = (
    3.1,
    1.55,
    0.4,
)  # inches: from layer to layer, from unit to unit, and of a unit
_SIDE, _TOP, _BOTTOM = 0.9, 0.5, 0.75  # inches around the units
_CAPTION = 6.2  # inches that the words below take
_MOST_LABELS = 8  # weights between two layers that are told in numbers
_READ = (
    r"width: the size of w;  colour: dw = a $\delta$, blue below 0, orange above;  db = $\delta$",
    r"at a unit: $\delta$ = da f'(z), where da is dL/da",
)
_OF_ALL = {
    "softmax",
    "log_softmax",
}  # functions of all numbers of a layer together, which have no slope at one


def network(
    scene: PlotContext, example: NonNegativeInt = 0, units: PositiveInt = 8
) -> Any:
    """One training example's way through dense layers and back: the chain rule, unit by unit.

    A unit adds up z and gives a = f(z); below it stands its error term delta, the gradient of the batch's loss with
    respect to z, and its factors: da, the gradient with respect to a, and the slope f'(z). A line is a weight w, the
    thicker the larger; its colour is what the example, counted from 0, adds to the gradient of w, which is the unit's
    delta times the a of the unit before. Of wide layers the first `units` are drawn. A loss that is computed from what
    is before the last function, as Keras computes cross-entropy, has no da there.
    """
    found = dense_chain(scene)
    examples = len(found[0].before)
    if example >= examples:
        raise ValueError(
            f"example: given {example}; expected a number below {examples}, that of the batch"
        )
    widths = [
        min(units, one)
        for one in (found[0].before.shape[1], *(len(layer.kernel.T) for layer in found))
    ]
    high, side = (
        _TOP + _BOTTOM + _ROW * max(widths),
        max(_SIDE, (_CAPTION - _COLUMN * len(found)) / 2),
    )
    wide = 2 * side + _COLUMN * len(found)
    plot = PlotFigure(f"network, step {scene.step}", size=(wide, high + 0.4))
    [axes] = plot.axes
    axes.set(
        xlim=(-side, wide - side),
        ylim=(-_ROW * max(widths) / 2 - _BOTTOM, _ROW * max(widths) / 2 + _TOP),
    )
    axes.set_aspect("equal")
    axes.set_axis_off()
    most = (
        max(_largest(_terms(layer, example)) for layer in found),
        max(_largest(layer.kernel) for layer in found),
    )
    labels: list[tuple[Any, tuple]] = []
    for place, layer in enumerate(found):
        labels += _lines(
            axes, layer, (place, widths[place], widths[place + 1]), (example, *most)
        )
    for unit in range(widths[0]):
        _circle(
            axes, _at(0, unit, widths[0]), [_format(found[0].before[example, unit])], ""
        )
    for place, layer in enumerate(found, 1):
        for unit in range(widths[place]):
            _unit(axes, layer, (example, unit), _at(place, unit, widths[place]))
    _head(axes, found, widths)
    _caption(axes, scene, (example, examples), len(found))
    texts = [label for label, _ in labels]
    place_along(
        texts,
        [line for _, line in labels],
        [*axes.patches, *(one for one in axes.texts if one not in texts)],
    )
    return plot.finish()


def _terms(layer: Dense, example: int) -> np.ndarray:
    """What one example adds to the gradient of the kernel."""
    return np.outer(layer.before[example], layer.delta[example])


def _largest(values: np.ndarray) -> float:
    """The largest size of those that are finite; 1 where all are 0."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0


def _format(value: float) -> str:
    return format_short(value + 0.0)  # which makes -0 to 0


def _at(place: int, unit: int, width: int) -> tuple[float, float]:
    return place * _COLUMN, ((width - 1) / 2 - unit) * _ROW


def _lines(
    axes: Any, layer: Dense, span: tuple[int, int, int], shown: tuple[int, float, float]
) -> list[tuple]:
    """A line for each weight between the units at a place and those at the next one; the labels, each with its line."""
    place, sources, targets = span
    example, most, largest = shown
    labels = []
    kernel, terms = (
        layer.kernel[:sources, :targets],
        _terms(layer, example)[:sources, :targets],
    )
    for source, target in np.ndindex(kernel.shape):
        (x, y), (to_x, to_y) = (
            _at(place, source, sources),
            _at(place + 1, target, targets),
        )
        weight, term = float(kernel[source, target]), float(terms[source, target])
        sound = np.isfinite([weight, term]).all()
        colour = diverging_colormap()(0.5 + 0.5 * term / most) if sound else NOT_FINITE
        width = 1 + 4 * abs(weight) / largest if sound else 2
        axes.plot(
            [x, to_x], [y, to_y], color="#9a9a9a", linewidth=width + 1.2, zorder=1
        )
        axes.plot([x, to_x], [y, to_y], color=colour, linewidth=width, zorder=1.1)
        if kernel.size <= _MOST_LABELS:
            text = f"w {_format(weight)}\ndw {_format(term)}"
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
            middle = ((x + to_x) / 2, (y + to_y) / 2)
            label = axes.text(
                *middle, text, fontsize=8, ha="center", va="center", bbox=box, zorder=2
            )
            labels.append((label, ((x, y), (to_x, to_y))))
    return labels


def _unit(
    axes: Any, layer: Dense, which: tuple[int, int], at: tuple[float, float]
) -> None:
    z, a, delta = (float(values[which]) for values in (layer.z, layer.a, layer.delta))
    inside = [f"z {_format(z)}", f"a {_format(a)}"] if layer.function else [_format(a)]
    below = rf"$\delta$ {_format(delta)}"
    if layer.function and layer.function not in _OF_ALL and layer.arrived is not None:
        arrived = float(layer.arrived[which])
        below += f"\nda {_format(arrived)}" + (
            f", f' {_format(delta / arrived)}" if arrived else ""
        )
    _circle(axes, at, inside, below)
    if layer.bias is not None:
        above = f"b {_format(float(layer.bias[which[1]]))}"
        axes.text(
            at[0],
            at[1] + _RADIUS + 0.05,
            above,
            fontsize=8,
            color="#777777",
            ha="center",
            va="bottom",
        )


def _circle(axes: Any, at: tuple[float, float], inside: list[str], below: str) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(
        Circle(
            at, _RADIUS, facecolor="white", edgecolor="#333333", linewidth=1.2, zorder=3
        )
    )
    axes.text(*at, "\n".join(inside), fontsize=9, ha="center", va="center", zorder=4)
    box = {
        "facecolor": "white",
        "edgecolor": "none",
        "alpha": 0.7 if below else 0,
        "pad": 0.5,
    }
    style = {
        "fontsize": 9,
        "color": "#c45100",
        "ha": "center",
        "va": "top",
        "bbox": box,
    }
    axes.text(at[0], at[1] - _RADIUS - 0.05, below, zorder=4, **style)


def _head(axes: Any, found: list[Dense], widths: list[int]) -> None:
    """The name of each layer, its activation, and how many of its units are drawn where these are not all."""
    names = [("input", None), *((one.name, one.function) for one in found)]
    sizes = [found[0].before.shape[1], *(one.kernel.shape[1] for one in found)]
    for place, ((name, function), shown, units) in enumerate(
        zip(names, widths, sizes, strict=True)
    ):
        said = [name, function, f"{shown} of {units} units" if units > shown else None]
        at = (place * _COLUMN, max(widths) / 2 * _ROW + 0.1)
        axes.text(
            *at, "\n".join(filter(None, said)), ha="center", va="bottom", fontsize=9
        )


def _caption(axes: Any, scene: PlotContext, which: tuple[int, int], depth: int) -> None:
    example, examples = which
    target = np.asarray(scene.batch.y)[example].ravel()
    told = ", ".join(format_short(float(one)) for one in target[:4]) + (
        ", ..." if len(target) > 4 else ""
    )
    said = f"target {told}, loss {format_short(scene.passes.loss)}"
    if examples > 1:
        said = f"example {example} of 0 to {examples - 1}, {said} of all; dw is what this one adds to the gradient"
    said = "\n".join([said, *_READ])
    axes.text(
        depth * _COLUMN / 2,
        axes.get_ylim()[0],
        said,
        ha="center",
        va="bottom",
        fontsize=8.5,
        linespacing=1.5,
    )


_CLOSE = 0.02  # of a gradient's norm: half precision rounds by a hundredth
_FUNCTIONS = {
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softmax",
}  # layers that apply a function and nothing else
_SHAPES = {
    "InputLayer",
    "Flatten",
    "Reshape",
    "Sequential",
    "Functional",
}  # and those that change no number


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


def dense_chain(scene: PlotContext) -> list[Dense]:
    """The dense layers that follow one another from the input to the loss; raises ValueError for another network."""
    kernels = dict(zip(scene.names, scene.params, strict=True))
    grads = dict(zip(scene.passes.names, scene.passes.grads, strict=True))
    found, x = [], scene.batch.x
    before = (
        np.reshape(x, (len(x), -1)) if hasattr(x, "shape") else np.empty((0, 0))
    )  # which fits no kernel
    for one in scene.passes.layers:
        kernel = kernels.get(f"{one.name}/kernel")
        if (
            one.kind == "Dense"
            and kernel is not None
            and one.a.ndim == 2
            and before.shape[1:] == kernel.shape[:1]
        ):
            z = one.a if one.z is None else one.z
            bias = kernels.get(f"{one.name}/bias")
            found.append(
                Dense(
                    one.name,
                    kernel,
                    bias,
                    before,
                    z,
                    one.a,
                    one.delta,
                    one.arrived,
                    one.function,
                )
            )
        elif found and one.kind in _FUNCTIONS and one.a.shape == found[-1].a.shape:
            found[-1] = found[-1]._replace(
                a=one.a, arrived=one.arrived, function=one.function or one.kind.lower()
            )
        elif one.kind not in _SHAPES:
            raise ValueError(
                f"given a network with {one.name} ({one.kind}); expected dense layers one behind the other"
            )
        if one.a.shape[:1] == before.shape[:1]:
            before = one.a.reshape(len(before), -1)
    wrong = next(
        (one.name for one in found if not _is_chain(one, grads[f"{one.name}/kernel"])),
        None,
    )
    if (
        wrong is not None
        or not found
        or len(found) < sum(name.endswith("/kernel") for name in scene.names)
    ):
        said = (
            f" (the gradient of {wrong}/kernel is not delta times a)" if wrong else ""
        )
        raise ValueError(
            f"given a network that cannot be drawn{said}; expected dense layers one behind the other"
        )
    return found


def _is_chain(layer: Dense, grad: np.ndarray | None) -> bool:
    """Whether the gradient is what the chain rule says it is with the layer's neighbours."""
    if grad is None or layer.delta is None:
        return False
    made = layer.before.T.astype(np.float64) @ layer.delta
    return not np.isfinite(grad).all() or np.linalg.norm(
        made - grad
    ) <= _CLOSE * np.linalg.norm(grad)
