"""Training with activations that are kept, and that are computed again: memory at the peak, and processor time."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark_table import markdown, shown, shown_spread, spread
from benchmark_worker import SCRIPTS, worker_environment

_CONVOLUTION = {
    "name": "conv2d",
    "filters": 32,
    "kernel_size": 3,
    "padding": "same",
    "use_bias": False,
}
_BLOCK = [_CONVOLUTION, {"name": "batch_normalization"}, {"name": "re_lu"}]
_IMAGES = {"name": "benchmark_workloads:noise_images", "batch_size": 128}
_LINES = {"name": "benchmark_workloads:noise_lines", "batch_size": 4096}
_SERIES = {"name": "benchmark_workloads:noise_series", "batch_size": 128}
DEEP = {
    "dense": (
        {
            "name": "mlp",
            "hidden": [512] * 32,
            "batch_norm": True,
            "residual": True,
            "dropout": 0.1,
        },
        _LINES,
        "32 residual layers of 512 units with batch normalization and dropout, batch of 4096",
    ),
    "convolutions": (
        {
            "name": "sequential",
            "layers": [
                *_BLOCK * 16,
                {"name": "flatten"},
                {"name": "dense", "units": 10},
            ],
        },
        _IMAGES,
        "16 convolutions of 32 filters with batch normalization, 28 x 28 pixels, batch of 128",
    ),
    "lstm": (
        {"name": "rnn", "units": [128] * 6},
        _SERIES,
        "6 LSTM layers of 128 units, 100 steps, batch of 128",
    ),
}
KINDS = ("kept", "again")


def recompute(asked: argparse.Namespace) -> dict[str, Any]:
    """Print, for each network, the memory of both ways above what holds its weights and its data, and their times."""
    report = {name: measured(name, asked.repeats) for name in DEEP}
    rows = [
        [
            DEEP[name][2],
            *(
                shown(statistics.median(found["megabytes"][kind]))
                for kind in KINDS
            ),
            *(
                shown(statistics.median(found["seconds"][kind]))
                for kind in KINDS
            ),
            shown_spread(
                spread(
                    [
                        b / a
                        for a, b in zip(*found["seconds"].values(), strict=True)
                    ]
                )
            ),
        ]
        for name, found in report.items()
    ]
    print(
        markdown(
            [
                "network",
                "MB, kept",
                "MB, again",
                "CPU s a step, kept",
                "CPU s, again",
                "times",
            ],
            rows,
        )
    )
    return report


def measured(name: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Megabytes and seconds of each way, round by round, each in a process of its own."""
    found: dict[str, dict[str, list[float]]] = {
        what: {kind: [] for kind in KINDS} for what in ("megabytes", "seconds")
    }
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for kind in KINDS:
                path = write_config(
                    Path(folder) / f"{kind}.yaml", name, kind == "again"
                )
                for what, number in child(path).items():
                    found[what][kind].append(number)
            print(f"{name}: {found}", file=sys.stderr, flush=True)
    return found


def write_config(path: Path, name: str, again: bool) -> Path:
    """The config of a deep network, with nothing logged."""
    model, data, _ = DEEP[name]
    config = {
        "model": model,
        "data": data | {"drop_remainder": True},
        "optimizer": {"name": "sgd", "learning_rate": 1e-3},
        "gradients": {"remat": again},
        "training": {"steps": 1000},
        "log": {"histograms_every": "never", "graph": False},
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def child(config: Path) -> dict[str, float]:
    """What a fresh process measures; raises RuntimeError where it fails."""
    command = [
        sys.executable,
        str(SCRIPTS / "benchmark_memory.py"),
        str(config),
    ]
    done = subprocess.run(
        command, env=worker_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{config} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
