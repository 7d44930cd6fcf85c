"""Mutations of the example configs and of runs: each must be taken, or refused in clear lines; prints the counts.

A fault is a traceback, a hang, an unknown key that is not told, a config that reads differently once it is printed, a
line that is not clear, or a command that a run leads to what lies outside of it.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT))

import fuzz_runs  # noqa: E402
from fuzz_mutations import Mutant, mutant  # noqa: E402

import tftrain  # noqa: E402
from tftrain.config.export import to_yaml  # noqa: E402

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
FAULTS = (
    "traceback",
    "hang",
    "not told",
    "reads differently",
    "unclear",
    "led out",
)
READ_SECONDS, ASSEMBLE_SECONDS = 20.0, 120.0
LARGEST = 300  # of the numbers in a model that is made: there is memory for whatever has these sizes
RUN_SECONDS = 60.0


class Found(NamedTuple):
    outcome: str  # accepted, refused, or one of FAULTS
    words: str = ""
    config: tftrain.Config | None = None


class Late(BaseException):
    """The time for a case is over; no `except Exception` may catch it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Late where the block takes longer."""

    def ring(*_):
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def guarded(call: Callable[[], Found], seconds: float) -> Found:
    try:
        with limited(seconds):
            return call()
    except Late:
        return Found("hang", f"more than {seconds:g} s")
    except BaseException:  # whatever it is, no user should see it
        return Found("traceback", traceback.format_exc())


def read(case: Mutant, path: Path) -> Found:
    """What checking the config gives, as `python -m tftrain --config` begins."""
    path.write_bytes(case.data)
    try:
        config = tftrain.load(path)
    except tftrain.ConfigError as error:
        bad = [
            line
            for line in str(error).splitlines()
            if not line.isprintable() or len(line) > fuzz_runs.LONGEST_LINE
        ]
        if bad:
            return Found("traceback", f"no clear line: {bad[0][:200]!r}")
        if case.told and not any(
            case.unknown in line for line in error.problems
        ):
            return Found("not told", f"'{case.unknown}' is not in {error}")
        return Found("refused", str(error))
    if case.unknown is not None:
        return Found("not told", f"'{case.unknown}' was accepted")
    printed = to_yaml(config)
    path.write_text(printed, encoding="utf-8")
    if to_yaml(tftrain.load(path)) != printed:
        return Found("reads differently", printed)
    return Found("accepted", config=config)


def assembled(config: tftrain.Config) -> Found:
    """What making the run gives, which is all that comes before its first step."""
    from tftrain.runtime.errors import InputError, UserCodeError
    from tftrain.trainer.build import build_run

    try:
        build_run(config)
    except (InputError, UserCodeError) as error:
        return Found("refused", str(error))
    return Found("accepted")


def is_small(config: tftrain.Config) -> bool:
    text = to_yaml(config).partition("\ndata:")[0]
    numbers = re.findall(r"(?<![\w.])\d[\d_]*(?:\.\d*)?(?:[eE]\+?\d+)?", text)
    return "0x" not in text and all(
        float(number.replace("_", "") or 0) <= LARGEST for number in numbers
    )


def checked(
    cases: int, seed: int, assemble: int
) -> Iterator[tuple[str, int, Mutant, Found]]:
    """(stage, number, mutant, what it gave): every case read, then as many of the accepted ones assembled."""
    texts = [path.read_text(encoding="utf-8") for path in CONFIGS]
    accepted: dict[bytes, tuple] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.yaml"
        for one in CONFIGS:  # some build upon others
            shutil.copy(one, folder)
        for number in range(cases):
            case = mutant(texts, seed, number)
            found = guarded(lambda case=case: read(case, path), READ_SECONDS)
            yield "read", number, case, found
            if found.config is not None and is_small(found.config):
                accepted.setdefault(case.data, (number, case, found.config))
    if not assemble:
        return
    from tftrain.runtime.tensorflow_import import import_tensorflow

    import_tensorflow()
    for number, case, config in list(accepted.values())[:assemble]:
        yield (
            "assembled",
            number,
            case,
            guarded(lambda config=config: assembled(config), ASSEMBLE_SECONDS),
        )


def checked_runs(
    cases: int, seed: int
) -> Iterator[tuple[int, fuzz_runs.RunCase, Found]]:
    """(number, case, what it gave): commands given mutated runs, and odd paths."""
    from tftrain.cli import main

    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder) / "desk"
        for number in range(cases):
            fuzz_runs.make_desk(desk)
            case = fuzz_runs.mutate(desk, seed, number)
            yield (
                number,
                case,
                guarded(
                    lambda case=case: Found(
                        *fuzz_runs.outcome(case, desk, main)
                    ),
                    RUN_SECONDS,
                ),
            )


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Checks mutations of the example configs.",
    )
    parser.add_argument(
        "--version", action="version", version=f"tftrain {tftrain.__version__}"
    )
    add = parser.add_argument
    add(
        "--cases",
        type=int,
        default=5000,
        help="how many mutations (default: 5000)",
    )
    add("--seed", type=int, default=1, help="of the mutations (default: 1)")
    add(
        "--assemble",
        type=int,
        default=100,
        help="how many of the accepted ones to make runs of (default: 100)",
    )
    add(
        "--runs",
        type=int,
        default=500,
        help="how many mutated runs and odd paths (default: 500)",
    )
    add(
        "--show",
        type=int,
        metavar="CASE",
        help="print the mutation of this number and stop",
    )
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    asked = parsed(words)
    if asked.show is not None:
        texts = [path.read_text(encoding="utf-8") for path in CONFIGS]
        sys.stdout.buffer.write(mutant(texts, asked.seed, asked.show).data)
        return 0
    began, slowest = time.monotonic(), 0.0
    counts: collections.Counter = collections.Counter()
    kinds: dict[str, collections.Counter] = {}
    last = began
    for stage, number, case, found in checked(
        asked.cases, asked.seed, asked.assemble
    ):
        now = time.monotonic()
        slowest, last = (
            max(slowest, now - last) if stage == "read" else slowest,
            now,
        )
        counts[stage, found.outcome] += 1
        kinds.setdefault(case.kind, collections.Counter())[found.outcome] += (
            stage == "read"
        )
        if found.outcome in FAULTS:
            print(
                f"case {number} of seed {asked.seed} ({case.kind}), {stage}: {found.outcome}: {found.words}",
                flush=True,
            )
    for number, case, found in checked_runs(asked.runs, asked.seed):
        counts["run", found.outcome] += 1
        kinds.setdefault(case.kind, collections.Counter())[found.outcome] += 1
        if found.outcome in FAULTS:
            words = f"{' '.join(case.words)[:300]!r}: {found.outcome}"
            print(
                f"run {number} of seed {asked.seed} ({case.kind}: {case.done!r}), {words}: {found.words}",
                flush=True,
            )
    for kind, gave in kinds.items():
        print(
            f"{kind:>16}: "
            + ", ".join(
                f"{gave[outcome]} {outcome}"
                for outcome in gave
                if gave[outcome]
            )
        )
    for (stage, outcome), count in sorted(counts.items()):
        print(f"{stage}: {count} {outcome}")
    faults = sum(
        count for (_, outcome), count in counts.items() if outcome in FAULTS
    )
    print(
        f"{faults} faults; {time.monotonic() - began:.0f} s, the slowest reading {slowest:.2f} s"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(sys.argv[1:]))
