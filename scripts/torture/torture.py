"""Strikes runs with kills, full disks, odd clocks and damaged or lost files, and compares the bits of their ends."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torture_configs import CONFIGS, write_configs
from torture_report import KINDS, Report, summed

from tftrain import __version__

EPILOG = "\n".join(
    ["faults:", *(f"  {kind:12}{meaning}" for kind, meaning in KINDS.items())]
)


def main(words: Sequence[str] | None = None) -> int:
    asked = parsed(words)
    from tftrain.runtime.tensorflow_import import import_tensorflow

    import_tensorflow()
    from torture_trial import Trial, can_mount  # needs TensorFlow

    mounts, reports = can_mount(), {}
    print(line("config", "runs", *KINDS, "all", "lost"), flush=True)
    folder = Path(
        tempfile.mkdtemp(prefix="torture-")
    )  # a TemporaryDirectory would be removed by each fork that ends
    try:
        for name, config in write_configs(folder, asked.configs).items():
            reports[name] = report = Trial(
                config, f"{asked.seed} {name}", mounts
            ).run(asked.kills)
            print(
                row(name, report),
                *(f"  {problem}" for problem in report.problems),
                sep="\n",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)
    total = summed(reports.values())
    print(row("all", total))
    if asked.json:
        asked.json.write_text(
            json.dumps(
                {name: one.plain() for name, one in reports.items()}, indent=1
            )
            + "\n"
        )
    return int(bool(total.problems))


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "scripts/torture/run",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=form,
    )
    parser.add_argument(
        "--version", action="version", version=f"tftrain {__version__}"
    )
    add = parser.add_argument
    add(
        "--kills",
        type=int,
        default=23,
        metavar="N",
        help="faults for each config, kills among them (default: 23)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="of the faults and their times (default: 0)",
    )
    add(
        "--configs",
        type=names,
        default=list(CONFIGS),
        metavar="NAME,...",
        help=", ".join(CONFIGS),
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all figures and problems into a file",
    )
    return parser.parse_args(words)


def names(text: str) -> list[str]:
    unknown = [name for name in text.split(",") if name not in CONFIGS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no {', '.join(unknown)}; expected some of {', '.join(CONFIGS)}"
        )
    return text.split(",")


def row(name: str, report: Report) -> str:
    kinds = [f"{report.survived[kind]}/{report.tried[kind]}" for kind in KINDS]
    return line(
        name,
        report.runs,
        *kinds,
        f"{report.survived.total()}/{report.tried.total()}",
        report.lost,
    )


def line(first: str, *cells: Any) -> str:
    return f"{first:14}" + "".join(f"{cell!s:>11}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
