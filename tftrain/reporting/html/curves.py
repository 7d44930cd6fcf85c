"""The curves of runs as SVG images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np

from tftrain.reporting.html.markup import Markup, element
from tftrain.reporting.html.run_record import RunRecord
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.plots.curves import (
    PANEL_WIDTH,
    curves_of,
    default_scalars,
    draw_curves,
)
from tftrain.reporting.plots.style import plain_label
from tftrain.runtime.working_directory import import_matplotlib

# Names of the norms in the panel that compares them, before and after clipping.
_NORM_LABELS = {
    "grad_norm": "before clipping",
    "clipped_grad_norm": "after clipping",
    "grad_norm_max": "largest since the previous point",
}
_NORM_PANEL = "grad_norm/"
# Text stays text, and the same curves give the same bytes.
_SVG_OPTIONS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tftrain",
    "path.simplify_threshold": 0.5,
}


def curve_images(runs: Sequence[RunRecord]) -> list[Markup]:
    """Return an image each for loss, metrics, gradient norms and learning rate."""
    logged = [run for run in runs if run.history]
    histories = {
        run.name: _panel_scalars(run.history, with_largest=len(logged) == 1)
        for run in logged
    }
    panels = dict.fromkeys(
        name
        for run in logged
        for name in [*default_scalars(run.history), "learning_rate"]
    )
    names = [_NORM_PANEL if name == "grad_norm" else name for name in panels]
    return [
        _curve_image(histories, name)
        for name in names
        if any(curves_of(history, name) for history in histories.values())
    ]


def _panel_scalars(
    history: Mapping[str, Series], with_largest: bool
) -> dict[str, Series]:
    """The scalars of a run without those of parameters; norms are grouped in one panel."""
    scalars = {
        name: series for name, series in history.items() if "/" not in name
    }
    raw = scalars.pop("grad_norm", None)
    for name, label in _NORM_LABELS.items():
        norm = raw if name == "grad_norm" else scalars.pop(name, None)
        if norm is None or (name == "grad_norm_max" and not with_largest):
            continue
        if norm is raw or not _same_values(norm, raw):
            scalars[f"{_NORM_PANEL}{label}"] = norm
    return scalars


def _same_values(series: Series, reference: Series | None) -> bool:
    return reference is not None and np.array_equal(
        series.values, reference.values, equal_nan=True
    )


def _curve_image(
    histories: Mapping[str, Mapping[str, Series]], name: str
) -> Markup:
    matplotlib = import_matplotlib()
    only_run = next(iter(histories.values()))
    runs = histories if len(histories) > 1 else {"": only_run}
    title = "gradient norm" if name == _NORM_PANEL else plain_label(name)
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SVG_OPTIONS):
        figure = draw_curves(runs, [name], title="", min_width=PANEL_WIDTH)
        figure.axes[0].set_title(title, loc="left")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = base64.b64encode(buffer.getvalue()).decode()
    description = "; ".join(
        _description(f"{run} {curve_name}".strip(), series)
        for run, history in runs.items()
        for curve_name, series in curves_of(history, name).items()
    )
    return element(
        "img",
        src=f"data:image/svg+xml;base64,{svg}",
        alt=f"{title}: {description}",
    )


def _description(label: str, series: Series) -> str:
    """The curve in words, for screen readers."""
    finite = series.values[np.isfinite(series.values)]
    if not len(finite):
        return f"{label} is never finite"
    return (
        f"{label} from {finite[0]:.3g} to {finite[-1]:.3g},"
        f" minimum {finite.min():.3g}, maximum {finite.max():.3g}"
    )
