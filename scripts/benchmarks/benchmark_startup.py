"""How long it takes until a run is under way, until a mistake is told, and until a run is over after its last step."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmark_table import Spread, markdown, shown, spread
from benchmark_worker import SCRIPTS, worker_environment

IRIS = SCRIPTS.parents[1] / "configs" / "iris.yaml"
SAYS = {
    "import": "import tensorflow",
    "first_step": "configs/iris.yaml, to its first finished step",
    "beyond_import": "the same, less TensorFlow's import",
    "end_arrays": "from its last step to the end of the process",
    "end_stream": "the same where data is streamed (tf.data)",
    "help": "--help",
    "mistake": "a mistake in the config",
}
STREAM = {
    "model": "mlp",
    "data": {"name": "benchmark_parts:stream", "test": 0.2},
    "optimizer": "adam",
    "training": {"steps": 5000},
}


def startup(asked: argparse.Namespace) -> dict[str, Any]:
    """Print the seconds of each, the median and the spread of `asked.repeats`, and return them."""
    found: dict[str, list[float]] = {name: [] for name in SAYS}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as place:
        folder = Path(place)
        (folder / "wrong.yaml").write_text(
            "model: mlp\ndata: irsi\noptimizer: adam\n", encoding="utf-8"
        )
        (folder / "stream.yaml").write_text(
            json.dumps(STREAM), encoding="utf-8"
        )
        for turn in range(asked.repeats):
            measured = once(folder, turn)
            for name, seconds in measured.items():
                found[name].append(seconds)
    spreads = {name: spread(seconds) for name, seconds in found.items()}
    print(
        markdown(
            ["", "seconds", "least", "most"],
            [row(SAYS[name], one) for name, one in spreads.items()],
        )
    )
    return {name: one._asdict() for name, one in spreads.items()}


def row(says: str, found: Spread) -> list[str]:
    return [says, *map(shown, found)]


def once(folder: Path, turn: int) -> dict[str, float]:
    """Each of them once, in seconds."""
    imported = seconds_of(
        folder,
        "-c",
        "import time, tensorflow; print(time.monotonic())",
        printed=True,
    )
    first, end_arrays = run(folder, IRIS, f"iris-{turn}", "0.01")
    _, end_stream = run(
        folder, folder / "stream.yaml", f"stream-{turn}", "0.001"
    )
    return {
        "import": imported,
        "first_step": first,
        "beyond_import": first - imported,
        "end_arrays": end_arrays,
        "end_stream": end_stream,
        "help": seconds_of(folder, "-m", "tftrain", "--help"),
        "mistake": seconds_of(
            folder, "-m", "tftrain", "--config", "wrong.yaml", status=2
        ),
    }


def run(
    folder: Path, config: Path, name: str, rate: str
) -> tuple[float, float]:
    """Seconds from the start of `python -m tftrain` to its first step, and from its last step to its end."""
    journal = folder / f"{name}.txt"
    words = [
        "-m",
        "tftrain",
        "--config",
        str(config),
        "--run-dir",
        str(folder / name),
        "--set",
    ]
    words.append(
        f"optimizer.learning_rate={{name: 'benchmark_parts:telling', rate: {rate}, file: '{journal}'}}"
    )
    began = time.monotonic()
    took = seconds_of(folder, *words)
    times = [
        float(line) for line in journal.read_text(encoding="utf-8").splitlines()
    ]
    return times[0] - began, began + took - times[-1]


def seconds_of(
    folder: Path, *words: str, status: int = 0, printed: bool = False
) -> float:
    """How long Python takes for it; with `printed`, until the time that it prints."""
    env = worker_environment()
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )
    ended = time.monotonic()
    if done.returncode != status:
        raise RuntimeError(
            f"python {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return (float(done.stdout) if printed else ended) - began
