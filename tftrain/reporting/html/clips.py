"""What clipping did over a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tftrain.reporting.metrics_file import Series

_BEFORE = re.compile(r"(clip/.+)/norm_before")


class Clip(NamedTuple):
    """One clip, or all of them: the share of steps that were clipped, and the numbers of the points."""

    name: str
    share: float
    factor: np.ndarray
    before: np.ndarray
    after: np.ndarray
    limit: np.ndarray  # empty where there is none


def clips(history: Mapping[str, Series]) -> list[Clip]:
    """Each clip of a run, in their order."""
    names = [match[1] for name in history if (match := _BEFORE.fullmatch(name)) and f"{match[1]}/rate" in history]
    return [
        Clip(
            name.removeprefix("clip/"),
            clipped_share(history[f"{name}/rate"]),
            *(_finite(history.get(f"{name}/{part}")) for part in ("factor", "norm_before", "norm_after", "limit")),
        )
        for name in names
    ]


def clipped_share(rate: Series) -> float:
    """Of all steps; each point's rate is that of the steps since the point before it."""
    since = np.diff(rate.steps, prepend=0)
    told = np.isfinite(rate.values)
    return float(np.sum(rate.values[told] * since[told]) / max(np.sum(since[told]), 1))


def _finite(series: Series | None) -> np.ndarray:
    return np.empty(0) if series is None else series.values[np.isfinite(series.values)]
