"""One histogram of a large gradient, beside its norm and TensorFlow's own histogram: time, and memory at its peak."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from benchmark_table import markdown, shown, shown_spread, spread
from benchmark_worker import SCRIPTS, worker_environment

ELEMENTS = 10_000_000
SAYS = {
    "norm": "norm, as tftrain takes it",
    "plain_norm": "tf.norm",
    "tftrain": "tftrain's histogram, zeros, NaN and Inf",
    "stock": "tf.summary.histogram",
}


def histogram(asked: argparse.Namespace) -> dict[str, Any]:
    """Print seconds, the ratio to the norm and the extra memory of each method, and return them."""
    seconds = child("time", str(ELEMENTS), str(asked.repeats))
    extra = {method: child("memory", str(ELEMENTS), method) for method in SAYS}
    beside = {
        method: spread(
            [
                a / b
                for a, b in zip(seconds[method], seconds["norm"], strict=True)
            ]
        )
        for method in SAYS
    }
    rows = [
        [
            SAYS[method],
            shown(1000 * spread(seconds[method]).median),
            shown_spread(beside[method]),
            "-" if extra[method] is None else shown(extra[method]),
        ]
        for method in SAYS
    ]
    print(
        markdown(
            [
                f"{ELEMENTS:,} float32",
                "ms",
                "times the norm",
                "extra MB at the peak",
            ],
            rows,
        )
    )
    return {
        "seconds": seconds,
        "extra_megabytes": extra,
        "ratios": {name: one._asdict() for name, one in beside.items()},
    }


def child(*words: str) -> Any:
    """What a fresh process measures; raises RuntimeError where it fails."""
    command = [sys.executable, str(SCRIPTS / "benchmark_gradient.py"), *words]
    done = subprocess.run(
        command, env=worker_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
