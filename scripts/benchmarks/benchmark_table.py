"""The arithmetic of a benchmark, and its tables as text."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some figures, the least and the greatest."""

    median: float
    least: float
    greatest: float


def spread(figures: Sequence[float]) -> Spread:
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(
    speeds: Mapping[str, Sequence[float]], ours: str
) -> dict[str, Spread]:
    """Our speed over each other one's; those of one round are compared, for a machine's speed drifts."""
    return {
        peer: spread(
            [
                mine / other
                for mine, other in zip(speeds[ours], theirs, strict=True)
            ]
        )
        for peer, theirs in speeds.items()
        if peer != ours
    }


def shown(figure: float) -> str:
    """A figure with three digits that count."""
    return f"{figure:.0f}" if figure >= 100 else f"{figure:#.3g}"


def shown_spread(found: Spread) -> str:
    return f"{found.median:.2f} ({found.least:.2f}..{found.greatest:.2f})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is aligned as text too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        )
        + " |"
        for line in lines
    )


def speed_table(
    speeds: Mapping[str, Mapping[str, Sequence[float]]], peers: Sequence[str]
) -> str:
    """Steps per second: the median of each peer on each workload."""
    rows = [
        [
            workload,
            *(
                shown(statistics.median(found[peer])) if peer in found else "-"
                for peer in peers
            ),
        ]
        for workload, found in speeds.items()
    ]
    return markdown(["steps/s", *peers], rows)


def ratio_table(
    speeds: Mapping[str, Mapping[str, Sequence[float]]],
    peers: Sequence[str],
    ours: str,
) -> str:
    """Our speed over that of the others: the median of the rounds, and their spread."""
    rows = []
    for workload, found in speeds.items():
        beside = ratios(found, ours)
        rows.append(
            [
                workload,
                *(
                    shown_spread(beside[peer]) if peer in beside else "-"
                    for peer in peers
                ),
            ]
        )
    return markdown([f"{ours} /", *peers], rows)
