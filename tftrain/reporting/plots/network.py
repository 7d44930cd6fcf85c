"""A small network as the units and weights it is made of, with what goes forward and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np

from tftrain.config.field_types import NonNegativeInt, PositiveInt
from tftrain.core.types import PlotContext
from tftrain.reporting.plots.dense_chain import Dense, dense_chain
from tftrain.reporting.plots.placing import place_along
from tftrain.reporting.plots.style import (
    NOT_FINITE,
    PlotFigure,
    diverging_colormap,
    format_short,
)

# Inches from layer to layer, from unit to unit, and of a unit's radius.
_COLUMN = 3.1
_ROW = 1.55
_RADIUS = 0.4
# Inches around the units.
_SIDE = 0.9
_TOP = 0.5
_BOTTOM = 0.75
# Inches that the caption takes.
_CAPTION = 6.2
# Weights between two layers are labelled with their values up to this many.
_MAX_LABELS = 8
_READ = (
    r"width: the size of w;  colour: dw = a $\delta$, blue below 0, orange above;  db = $\delta$",
    r"at a unit: $\delta$ = da f'(z), where da is dL/da",
)
# Functions of all numbers of a layer together, which have no slope at one of them.
_OF_ALL = {"softmax", "log_softmax"}


def network(
    scene: PlotContext, example: NonNegativeInt = 0, units: PositiveInt = 8
) -> Any:
    """Draw one training example's way through dense layers and back: the chain rule, unit by unit.

    A unit adds up z and gives a = f(z). Below it are its error term delta, the gradient of
    the batch's loss with respect to z, and the factors of delta: da, the gradient with
    respect to a, and the slope f'(z). A line is a weight w, the thicker the larger; its
    colour is what the example adds to the gradient of w, which is the unit's delta times
    the a of the unit before. A loss that is computed from the input of the last function,
    as Keras computes cross-entropy, has no da there.

    Args:
        scene: the run at this step.
        example: index of the example in the first training batch.
        units: how many units of a wide layer are drawn, from the first.

    Raises:
        ValueError: the batch has no such example, or the network is no chain of dense layers.
    """
    chain = dense_chain(scene)
    examples = len(chain[0].inputs)
    if example >= examples:
        raise ValueError(
            f"example: given {example}; expected a number below {examples}, that of the batch"
        )
    sizes = [chain[0].inputs.shape[1]]
    sizes += [layer.kernel.shape[1] for layer in chain]
    widths = [min(units, size) for size in sizes]

    rows_height = _ROW * max(widths)
    columns_width = _COLUMN * len(chain)
    side = max(_SIDE, (_CAPTION - columns_width) / 2)
    width = 2 * side + columns_width
    height = _TOP + _BOTTOM + rows_height
    plot = PlotFigure(f"network, step {scene.step}", size=(width, height + 0.4))
    [axes] = plot.axes
    axes.set(
        xlim=(-side, width - side),
        ylim=(-rows_height / 2 - _BOTTOM, rows_height / 2 + _TOP),
    )
    axes.set_aspect("equal")
    axes.set_axis_off()

    largest_term = max(
        _largest_size(_gradient_terms(layer, example)) for layer in chain
    )
    largest_weight = max(_largest_size(layer.kernel) for layer in chain)
    labels = []
    label_lines = []
    for place, layer in enumerate(chain):
        span = (place, widths[place], widths[place + 1])
        scale = (largest_term, largest_weight)
        for label, line in _draw_weights(axes, layer, span, example, scale):
            labels.append(label)
            label_lines.append(line)
    for unit in range(widths[0]):
        position = _unit_position(0, unit, widths[0])
        text = _format_value(chain[0].inputs[example, unit])
        _draw_circle(axes, position, [text], "")
    for place, layer in enumerate(chain, 1):
        for unit in range(widths[place]):
            position = _unit_position(place, unit, widths[place])
            _draw_unit(axes, layer, (example, unit), position)
    _draw_head(axes, chain, widths, sizes)
    _draw_caption(axes, scene, example, examples, len(chain))

    other_texts = [text for text in axes.texts if text not in labels]
    place_along(labels, label_lines, [*axes.patches, *other_texts])
    return plot.finish()


def _gradient_terms(layer: Dense, example: int) -> np.ndarray:
    """What one example adds to the gradient of the kernel."""
    return np.outer(layer.inputs[example], layer.delta[example])


def _largest_size(values: np.ndarray) -> float:
    """The largest size of those that are finite; 1 where all are 0."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0


def _format_value(value: float) -> str:
    # Adding 0 turns -0 into 0.
    return format_short(value + 0.0)


def _unit_position(place: int, unit: int, width: int) -> tuple[float, float]:
    return place * _COLUMN, ((width - 1) / 2 - unit) * _ROW


def _draw_weights(
    axes: Any,
    layer: Dense,
    span: tuple[int, int, int],
    example: int,
    scale: tuple[float, float],
) -> list[tuple]:
    """Draw a line for each weight between a place and the next; return the labels, each with its line."""
    place, sources, targets = span
    largest_term, largest_weight = scale
    labels = []
    kernel = layer.kernel[:sources, :targets]
    terms = _gradient_terms(layer, example)[:sources, :targets]
    for source, target in np.ndindex(kernel.shape):
        x, y = _unit_position(place, source, sources)
        to_x, to_y = _unit_position(place + 1, target, targets)
        weight = float(kernel[source, target])
        term = float(terms[source, target])
        colour = NOT_FINITE
        width = 2.0
        if np.isfinite([weight, term]).all():
            colour = diverging_colormap()(0.5 + 0.5 * term / largest_term)
            width = 1 + 4 * abs(weight) / largest_weight
        axes.plot(
            [x, to_x],
            [y, to_y],
            color="#9a9a9a",
            linewidth=width + 1.2,
            zorder=1,
        )
        axes.plot(
            [x, to_x], [y, to_y], color=colour, linewidth=width, zorder=1.1
        )
        if kernel.size <= _MAX_LABELS:
            text = f"w {_format_value(weight)}\ndw {_format_value(term)}"
            box = {
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.8,
                "pad": 0.6,
            }
            middle = ((x + to_x) / 2, (y + to_y) / 2)
            label = axes.text(
                *middle,
                text,
                fontsize=8,
                ha="center",
                va="center",
                bbox=box,
                zorder=2,
            )
            labels.append((label, ((x, y), (to_x, to_y))))
    return labels


def _draw_unit(
    axes: Any,
    layer: Dense,
    index: tuple[int, int],
    position: tuple[float, float],
) -> None:
    """Draw the unit of `index`, (example, unit), with its numbers."""
    z = float(layer.z[index])
    a = float(layer.a[index])
    delta = float(layer.delta[index])
    inside = [_format_value(a)]
    if layer.function:
        inside = [f"z {_format_value(z)}", f"a {_format_value(a)}"]
    below = rf"$\delta$ {_format_value(delta)}"
    if (
        layer.function
        and layer.function not in _OF_ALL
        and layer.arrived is not None
    ):
        arrived = float(layer.arrived[index])
        below += f"\nda {_format_value(arrived)}"
        if arrived:
            below += f", f' {_format_value(delta / arrived)}"
    _draw_circle(axes, position, inside, below)
    if layer.bias is not None:
        x, y = position
        style = {
            "fontsize": 8,
            "color": "#777777",
            "ha": "center",
            "va": "bottom",
        }
        bias = f"b {_format_value(float(layer.bias[index[1]]))}"
        axes.text(x, y + _RADIUS + 0.05, bias, **style)


def _draw_circle(
    axes: Any, position: tuple[float, float], inside: list[str], below: str
) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(
        Circle(
            position,
            _RADIUS,
            facecolor="white",
            edgecolor="#333333",
            linewidth=1.2,
            zorder=3,
        )
    )
    axes.text(
        *position,
        "\n".join(inside),
        fontsize=9,
        ha="center",
        va="center",
        zorder=4,
    )
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
    axes.text(
        position[0], position[1] - _RADIUS - 0.05, below, zorder=4, **style
    )


def _draw_head(
    axes: Any, chain: list[Dense], widths: list[int], sizes: list[int]
) -> None:
    """Write the name of each layer, its activation, and how many units are drawn where these are not all."""
    titles = [("input", None)]
    titles += [(layer.name, layer.function) for layer in chain]
    y = max(widths) / 2 * _ROW + 0.1
    for place, (name, function) in enumerate(titles):
        lines = [name]
        if function:
            lines.append(function)
        if sizes[place] > widths[place]:
            lines.append(f"{widths[place]} of {sizes[place]} units")
        text = "\n".join(lines)
        axes.text(
            place * _COLUMN, y, text, ha="center", va="bottom", fontsize=9
        )


def _draw_caption(
    axes: Any, scene: PlotContext, example: int, examples: int, depth: int
) -> None:
    target = np.asarray(scene.batch.y)[example].ravel()
    numbers = ", ".join(format_short(float(number)) for number in target[:4])
    if len(target) > 4:
        numbers += ", ..."
    caption = f"target {numbers}, loss {format_short(scene.passes.loss)}"
    if examples > 1:
        caption = (
            f"example {example} of 0 to {examples - 1}, {caption} of all;"
            " dw is what this one adds to the gradient"
        )
    axes.text(
        depth * _COLUMN / 2,
        axes.get_ylim()[0],
        "\n".join([caption, *_READ]),
        ha="center",
        va="bottom",
        fontsize=8.5,
        linespacing=1.5,
    )
