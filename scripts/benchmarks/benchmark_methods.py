"""What a gradient costs by each method, as the parameters grow."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmark_table import markdown, shown
from benchmark_worker import SCRIPTS, worker_environment
from matplotlib.figure import Figure

SAYS = {
    "backprop": "reverse mode",
    "forward": "forward mode",
    "numeric": "central differences",
}


def methods(asked: argparse.Namespace) -> dict[str, Any]:
    """Print milliseconds and the ratios to reverse mode for networks of more and more parameters, and return them."""
    seconds = measured(asked.repeats)
    print(table(seconds))
    if asked.picture:
        drawn(seconds).savefig(asked.picture)
    return {"seconds": seconds}


def measured(repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by parameters and method, round by round, in one process; raises RuntimeError where it fails."""
    command = [
        sys.executable,
        str(SCRIPTS / "benchmark_differentiation.py"),
        str(repeats),
    ]
    done = subprocess.run(
        command, env=worker_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(seconds: dict[str, dict[str, list[float]]]) -> str:
    rows = []
    for parameters, found in seconds.items():
        times = [shown(1000 * min(found[method])) for method in SAYS]
        beside = [
            ratio(found, method) for method in SAYS if method != "backprop"
        ]
        rows.append([f"{int(parameters):,}", *times, *beside])
    head = ["parameters", *(f"{name}, ms" for name in SAYS.values())]
    return markdown([*head, "forward / reverse", "differences / reverse"], rows)


def ratio(found: dict[str, list[float]], method: str) -> str:
    """The shortest time over that of reverse mode: what else the machine does only makes times longer."""
    return shown(min(found[method]) / min(found["backprop"]))


def drawn(seconds: dict[str, dict[str, list[float]]]) -> Figure:
    """The times over the number of parameters, both on log10 axes."""
    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot(
        xscale="log",
        yscale="log",
        xlabel="parameters",
        ylabel="seconds for one gradient",
    )
    for method, name in SAYS.items():
        times = [min(found[method]) for found in seconds.values()]
        axes.plot(
            [int(parameters) for parameters in seconds],
            times,
            marker="o",
            label=name,
        )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def png(text: str) -> Path:
    """Reads the name of a picture."""
    if not text.endswith(".png"):
        raise argparse.ArgumentTypeError(
            f"{text}: expected a name that ends in .png"
        )
    return Path(text)
