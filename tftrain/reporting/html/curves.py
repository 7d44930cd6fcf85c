"""Which curves of runs are shown, and how they are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tftrain.reporting.html.chart import Curve, chart
from tftrain.reporting.html.markup import Markup
from tftrain.reporting.html.run_record import RunRecord
from tftrain.reporting.plots.curves import curves_of, default_scalars

COLOURS = 8  # in the page's style; of more runs than these the others are dotted
_DASHES = (
    ("", "dashed"),
    ("dotted", "dashdot"),
)  # of a run, and of its validation or what is after clipping
_NORMS = {"grad_norm": "raw", "clipped_grad_norm": "clipped"}
_LARGEST = "grad_norm_max"


def charts(runs: Sequence[RunRecord]) -> list[Markup]:
    """Loss, metrics, the gradient norm before and after clipping, and the rate, of all runs that have points."""
    runs = [run for run in runs if run.history]
    names = dict.fromkeys(
        name
        for run in runs
        for name in default_scalars(run.history)
        if name != "grad_norm"
    )
    drawn = [_chart(name, _told_apart(runs, name)) for name in names]
    norms = _chart("gradient norm", _norms(runs), logarithmic=True)
    rate = _chart("learning rate", _told_apart(runs, "learning_rate", smooth=False))
    return [one for one in (*drawn, norms, rate) if one]


def _chart(
    title: str, curves: list[Curve], logarithmic: bool | None = None
) -> Markup | None:
    return chart(title, curves, logarithmic) if curves else None


def _told_apart(
    runs: Sequence[RunRecord], name: str, smooth: bool = True
) -> list[Curve]:
    """One run's training and validation have colours of their own; of several runs each has one."""
    curves = []
    for number, run in enumerate(runs):
        for split, series in curves_of(run.history, name).items():
            validation = split == "validation"
            if len(runs) == 1:
                curves.append(Curve(split, int(validation), *series, smooth=smooth))
            else:
                label = f"{run.name}, {split}" if validation else run.name
                curves.append(
                    Curve(
                        label,
                        number % COLOURS,
                        *series,
                        dash=_dash(number, validation),
                        smooth=smooth,
                    )
                )
    return curves


def _dash(number: int, second: bool) -> str:
    return _DASHES[number // COLOURS % len(_DASHES)][second]


def _norms(runs: Sequence[RunRecord]) -> list[Curve]:
    curves = []
    for number, run in enumerate(runs):
        there = {name: run.history[name] for name in _NORMS if name in run.history}
        if len(there) == 2 and np.array_equal(
            *(one.values for one in there.values()), equal_nan=True
        ):
            del there["clipped_grad_norm"]
        for place, (name, series) in enumerate(there.items()):
            if len(runs) == 1:
                curves.append(Curve(_NORMS[name], place, *series))
            else:
                label = f"{run.name}, {_NORMS[name]}" if place else run.name
                curves.append(
                    Curve(
                        label,
                        number % COLOURS,
                        *series,
                        dash=_dash(number, bool(place)),
                    )
                )
    if len(runs) == 1 and _LARGEST in runs[0].history:
        curves.insert(
            0,
            Curve(
                "largest since the point before",
                2,
                *runs[0].history[_LARGEST],
                faint=True,
                smooth=False,
            ),
        )
    return curves
