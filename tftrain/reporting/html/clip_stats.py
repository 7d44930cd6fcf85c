"""What clipping did in a run: gradient norms before and after it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tftrain.reporting.metrics_file import Series

_NORM_BEFORE = re.compile(r"(clip/.+)/norm_before")


class ClipStats(NamedTuple):
    """One clip, or all of them.

    Attributes:
        name: of the clip.
        share: of the steps at which it was active.
        factor: norm after over norm before, [points].
        before: norm before, [points].
        after: norm after, [points].
        limit: [points]; empty where there is none.
    """

    name: str
    share: float
    factor: np.ndarray
    before: np.ndarray
    after: np.ndarray
    limit: np.ndarray


def clip_stats(history: Mapping[str, Series]) -> list[ClipStats]:
    """Return the statistics of each clip of a run, in their order."""
    stats = []
    for scalar in history:
        match = _NORM_BEFORE.fullmatch(scalar)
        if match is None or f"{match[1]}/rate" not in history:
            continue
        clip = match[1]
        stats.append(
            ClipStats(
                clip.removeprefix("clip/"),
                clipped_share(history[f"{clip}/rate"]),
                _finite_values(history.get(f"{clip}/factor")),
                _finite_values(history.get(f"{clip}/norm_before")),
                _finite_values(history.get(f"{clip}/norm_after")),
                _finite_values(history.get(f"{clip}/limit")),
            )
        )
    return stats


def clipped_share(rate: Series) -> float:
    """Return the share of all steps; a point's rate is that of the steps since the previous point."""
    steps_since = np.diff(rate.steps, prepend=0)
    is_finite = np.isfinite(rate.values)
    clipped = np.sum(rate.values[is_finite] * steps_since[is_finite])
    total = np.sum(steps_since[is_finite])
    return float(clipped / max(total, 1))


def _finite_values(series: Series | None) -> np.ndarray:
    if series is None:
        return np.empty(0)
    return series.values[np.isfinite(series.values)]
