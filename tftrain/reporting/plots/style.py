"""How every picture looks, and what it is made into; Matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from tftrain.runtime.terminal import printable
from tftrain.runtime.working_directory import import_matplotlib

# Inches.
WIDTH = 6.4
HEIGHT = 4.8
# Dots per inch.
DOTS = 125
# Okabe and Ito (2008): colours that the colour-blind tell apart; blue and orange first, black and yellow left out.
COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#7f7f7f",
    "#8c6d1f",
)
BLUE, ORANGE = COLOURS[:2]
ZERO = "black"
NOT_FINITE = "magenta"
_INK = "#333333"
_PALE = "#d8d8d8"
_STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#888888",
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _PALE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.limits": (-4, 5),
}


def plain_label(text: str) -> str:
    """Return a label in which nothing is read as mathematics."""
    return printable(text).replace("$", r"\$")


class PlotFigure:
    """A figure of Matplotlib on white, which can be read on light and dark pages alike.

    Args:
        title: of the figure.
        rows: of its axes.
        columns: of its axes.
        size: width and height in inches.

    Attributes:
        figure: the figure of Matplotlib.
        axes: its axes, row by row.
    """

    def __init__(
        self,
        title: str,
        rows: int = 1,
        columns: int = 1,
        size: tuple[float, float] = (WIDTH, HEIGHT),
    ):
        matplotlib = import_matplotlib()
        from matplotlib.figure import Figure

        with matplotlib.rc_context(_STYLE):
            self.figure = Figure(
                size, DOTS, facecolor="white", layout="constrained"
            )
            self.figure.suptitle(plain_label(title))
            grid = self.figure.subplots(rows, columns, squeeze=False)
        self.axes = grid.ravel().tolist()

    def finish(self) -> Any:
        """Return the figure, without the axes that nothing was drawn on."""
        for axes in self.axes:
            if not axes.has_data():
                axes.remove()
        return self.figure


def diverging_colormap(pale: bool = False) -> Any:
    """Return the colours from blue below zero over white to orange above; magenta is not finite.

    Args:
        pale: leave out the dark ends, for a background to draw on.
    """
    from matplotlib.colors import LinearSegmentedColormap

    colours = ["#8fc1e3", "#f7f7f7", "#f7c765"]
    if not pale:
        colours = ["#08366b", BLUE, *colours, "#e08a00", "#7a3d00"]
    colormap = LinearSegmentedColormap.from_list("blue_orange", colours)
    return colormap.with_extremes(bad=NOT_FINITE)


def to_pixels(drawn: Any) -> np.ndarray:
    """Return a drawing as uint8 [height, width, channels].

    Args:
        drawn: a figure of Matplotlib, or an image [height, width, 1, 3 or 4].

    Raises:
        TypeError: it is something else.
    """
    is_array = isinstance(drawn, np.ndarray)
    if is_array and drawn.dtype == np.uint8 and drawn.ndim == 3 and drawn.size:
        if drawn.shape[2] in (1, 3, 4):
            return drawn
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not isinstance(drawn, Figure):
        kind = type(drawn).__name__
        if is_array:
            kind = f"{drawn.dtype} {list(drawn.shape)}"
        raise TypeError(
            f"gave {kind}; expected a figure of matplotlib, or uint8 [height, width, 1, 3 or 4]"
        )
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[:, :, :3]


def format_short(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:.3g}"
