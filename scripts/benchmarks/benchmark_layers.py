"""What it costs to observe one more layer."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark_table import markdown, shown, shown_spread, spread
from benchmark_worker import SETTLE_SECONDS, Worker

LAYERS = (10, 50, 100, 400)
PEERS = ("tftrain", "tftrain_unlogged")


def layers(asked: argparse.Namespace) -> dict[str, Any]:
    """Print, for networks of more and more layers, the time that observing adds, and that of tracing; return both."""
    report = {str(count): measured(count, asked) for count in LAYERS}
    rows = [
        [
            count,
            *(
                shown(statistics.median(found["steps_per_second"][peer]))
                for peer in PEERS
            ),
            shown_spread(spread(found["microseconds_per_layer"])),
            *(
                shown(found["facts"][peer]["assemble_seconds"])
                for peer in PEERS
            ),
        ]
        for count, found in report.items()
    ]
    added = f"us added per layer and logged step (one of {asked.log_every})"
    print(
        markdown(
            [
                "layers",
                "steps/s",
                "unlogged",
                added,
                "s to build and trace",
                "unlogged",
            ],
            rows,
        )
    )
    return report


def measured(count: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Steps per second with and without logging, round by round, and what logging adds."""
    speeds: dict[str, list[float]] = {peer: [] for peer in PEERS}
    with contextlib.ExitStack() as ended:
        folder = Path(
            ended.enter_context(
                tempfile.TemporaryDirectory(prefix="benchmark-")
            )
        )
        workers = []
        for peer in PEERS:
            workers.append(
                Worker(
                    peer,
                    f"dense_{count}",
                    folder / peer,
                    asked.log_every,
                    asked.set,
                )
            )
            ended.callback(workers[-1].close)
            workers[-1].measure(0, asked.warm_seconds)
        for _ in range(asked.repeats):
            for worker in workers:
                speeds[worker.peer].append(
                    worker.measure(SETTLE_SECONDS, asked.seconds).speed
                )
    pairs = zip(*speeds.values(), strict=True)
    added = [
        added_microseconds(logged, bare, asked.log_every) / count
        for logged, bare in pairs
    ]
    facts = {worker.peer: worker.facts for worker in workers}
    print(f"{count} layers: {speeds}, {facts}", file=sys.stderr, flush=True)
    return {
        "steps_per_second": speeds,
        "microseconds_per_layer": added,
        "facts": facts,
    }


def added_microseconds(
    speed: float, bare_speed: float, log_every: int
) -> float:
    """What one logged step takes longer, from the steps per second with and without logging."""
    return 1e6 * log_every * (1 / speed - 1 / bare_speed)
