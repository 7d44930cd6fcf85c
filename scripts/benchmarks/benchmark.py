"""Measures how fast tftrain trains beside other loops that do the same work, side by side on this machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from benchmark_board import board
from benchmark_histogram import histogram
from benchmark_layers import layers
from benchmark_methods import methods, png
from benchmark_recompute import recompute
from benchmark_startup import startup
from benchmark_table import ratio_table, ratios, speed_table
from benchmark_worker import SETTLE_SECONDS, Chunk, Worker

from tftrain import __version__

OURS = "tftrain"
WORKLOADS = (
    "iris_mlp",
    "digits_mlp",
    "deep_mlp",
    "mnist_cnn",
    "lstm",
    "wide_mlp",
)
PEERS = {  # with the packages each one needs
    "limit": (),
    "fit": (),
    "fit_spe32": (),
    "tutorial_observed": (),
    "orbit_observed": ("orbit", "tf_keras"),
    "lightning_observed": ("lightning", "torch"),
}
MORE_PEERS = ("tftrain_unlogged",)  # only where they are asked for
BUSY_CORES = 0.1  # used by other programs: from here on figures are rough
PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "tf-models-official",
    "lightning",
    "torch",
)


def main(words: Sequence[str] | None = None) -> int:
    asked = parsed(words)
    facts = machine()
    print(
        ", ".join(f"{name} {value}" for name, value in facts.items()),
        end="\n\n",
        flush=True,
    )
    found = WHAT[asked.what](asked)
    if asked.json:
        report = {"machine": facts, asked.what: found}
        asked.json.write_text(
            json.dumps(report, indent=1) + "\n", encoding="utf-8"
        )
    return 0


def speed(asked: argparse.Namespace) -> dict[str, Any]:
    """Print and return steps per second, and their ratios."""
    races = {
        workload: race(workload, [OURS, *asked.peers], asked)
        for workload in asked.workloads
    }
    speeds = {
        work: {
            peer: [chunk.speed for chunk in chunks]
            for peer, chunks in found.items()
        }
        for work, found in races.items()
    }
    print(
        f"{speed_table(speeds, [OURS, *asked.peers])}\n\n{ratio_table(speeds, asked.peers, OURS)}"
    )
    others = {
        work: max(chunk.others for chunks in found.values() for chunk in chunks)
        for work, found in races.items()
    }
    busy = [
        f"{work} {cores:.1f}"
        for work, cores in others.items()
        if cores > BUSY_CORES
    ]
    if busy:
        print(
            f"\nRough figures: meanwhile other programs used at most so many cores: {', '.join(busy)}"
        )
    beside = {
        workload: ratios(found, OURS) for workload, found in speeds.items()
    }
    plain = {
        work: {peer: one._asdict() for peer, one in found.items()}
        for work, found in beside.items()
    }
    return {
        "steps_per_second": speeds,
        "ratios": plain,
        "cores_of_others": others,
    }


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description=__doc__
    )
    parser.add_argument(
        "--version", action="version", version=f"tftrain {__version__}"
    )
    add = parser.add_argument
    add(
        "what",
        nargs="?",
        choices=WHAT,
        default="speed",
        help="speed (default): steps per second beside other loops; histogram: of one large gradient; "
        "layers: what each one more costs; methods: a gradient by each method, as parameters grow; "
        "recompute: memory and time with activations computed again; board: bytes of a run of 1000 points and "
        "60 layers, and seconds until TensorBoard shows it; startup: seconds before and after training",
    )
    installed = [
        peer
        for peer, needed in PEERS.items()
        if all(map(util.find_spec, needed))
    ]
    for option, known, default in (
        ("--workloads", WORKLOADS, list(WORKLOADS)),
        ("--peers", [*PEERS, *MORE_PEERS], installed),
    ):
        add(
            option,
            type=chosen_of(known),
            default=default,
            metavar="NAME,...",
            help=", ".join(known),
        )
    add(
        "--repeats",
        type=int,
        default=5,
        help="rounds, in each of which every peer runs once (default: 5)",
    )
    add(
        "--seconds",
        type=float,
        default=3.0,
        help="length of one measurement (default: 3)",
    )
    add(
        "--warm-seconds",
        type=float,
        default=3.0,
        help="of training before the first measurement (default: 3)",
    )
    add(
        "--log-every",
        type=int,
        default=10,
        help="steps between two written sets of histograms (default: 10)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change tftrain's config; repeatable",
    )
    add(
        "--quick",
        action="store_true",
        help="2 rounds of 1 second: rough figures",
    )
    add(
        "--picture",
        type=png,
        metavar="FILE.png",
        help="of methods: draw the times",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all figures into a file",
    )
    asked = parser.parse_args(words)
    if asked.quick:
        asked.repeats, asked.seconds, asked.warm_seconds = 2, 1.0, 1.0
    return asked


def chosen_of(known: Sequence[str]):
    """Reads names with commas between them."""

    def names(text: str) -> list[str]:
        found = text.split(",")
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(unknown)}; expected some of {', '.join(known)}"
            )
        return found

    return names


def race(
    workload: str, peers: Sequence[str], asked: argparse.Namespace
) -> dict[str, list[Chunk]]:
    """What every peer did in every round; one runs at a time, every other round in reverse order."""
    chunks: dict[str, list[Chunk]] = {peer: [] for peer in peers}
    with contextlib.ExitStack() as ended:
        folder = Path(
            ended.enter_context(
                tempfile.TemporaryDirectory(prefix="benchmark-")
            )
        )
        workers = []
        for peer in peers:
            worker = Worker(
                peer, workload, folder / peer, asked.log_every, asked.set
            )
            ended.callback(worker.close)
            worker.measure(0, asked.warm_seconds)
            workers.append(worker)
        for turn in range(asked.repeats):
            for worker in workers if turn % 2 == 0 else reversed(workers):
                chunks[worker.peer].append(
                    worker.measure(SETTLE_SECONDS, asked.seconds)
                )
            said = ", ".join(
                f"{peer} {found[-1].speed:.1f}"
                for peer, found in chunks.items()
            )
            print(f"{workload}: {said}", file=sys.stderr, flush=True)
    return chunks


def machine() -> dict[str, str]:
    """What the figures depend on."""
    facts = {
        "CPU": cpu_model(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    facts["Python"] = platform.python_version()
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            facts[package] = metadata.version(package)
    return facts


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = (
        info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    )
    names = [
        line.partition(":")[2].strip()
        for line in lines
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


WHAT = {
    "speed": speed,
    "histogram": histogram,
    "layers": layers,
    "methods": methods,
}
WHAT |= {"recompute": recompute, "board": board, "startup": startup}

if __name__ == "__main__":
    sys.exit(main())
