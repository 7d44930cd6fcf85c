"""Seeded mutations of a run's folder and of paths: what a command makes of runs that others wrote."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

LONGEST_LINE = 2500  # of what a command writes
SECRET = "what lies outside of the run"
CONFIG = "model: mlp\ndata: iris\noptimizer: adam\ntraining: {steps: 3}\n"
FILES = (
    "metrics.jsonl",
    "results.json",
    "config.yaml",
    "incidents/00000002/incident.txt",
)
EVENTS = "events.out.tfevents.1700000000.000000.host.1"
FOLDERS = (
    "incidents",
    "incidents/00000002",
    "checkpoints",
    "checkpoints/best",
    "val",
    "pictures",
    "plugins",
)
DRAFTS = (
    ".lock",
    ".draft.report.html",
    ".draft.curves.png",
    "report.html",
    "curves.png",
    "model.keras",
)
ODD_JSON = (
    *(
        "{}",
        "[]",
        "null",
        "true",
        '""',
        "-1",
        "1e999",
        "NaN",
        "-Infinity",
        '"NaN"',
        "9" * 30,
        "9" * 5000,
        "1" + "0" * 400,
    ),
    *(
        "[" * 50_000 + "]" * 50_000,
        '{"a":' * 50_000,
        '"\\u001b[31m\\n$\\\\frac{"',
        '"\\ud800"',
        "[[1]]",
        '{"loss": {}}',
    ),
)
ODD_NAMES = (
    "",
    "loss",
    "grad_norm/",
    "clip/x/norm_before",
    "val_loss",
    "$x$ $",
    "\x1b[31m",
    "\ud800",
    "_",
    "step",
    "é",
)
ODD_PATHS = (
    *(
        "",
        ".",
        "x" * 300,
        "x/" * 3000,
        "a\0b",
        "\ud800",
        "\udcff",
        "loop",
        "loop/x",
        "nowhere",
        "pipe",
        "zero",
    ),
    *(
        "/dev/null",
        "run/metrics.jsonl",
        "run/metrics.jsonl/x",
        "new\nline",
        "\x1b[2J",
        "~",
        "-",
        "*",
        "run/../run",
        "é",
    ),
)
COMMANDS: dict[str, list[str]] = {
    "report": ["report", "{}", "--out", "out.html"],
    "report two": ["report", "other", "{}", "--out", "out.html"],
    "plot": ["plot", "{}", "--out", "out.png"],
    "resume": ["--resume", "--run-dir", "{}", "--print-config"],
    "replay": ["replay", "{}/incidents/00000002"],
}
FOR_PATHS: dict[str, list[str]] = {
    **{
        name: words
        for name, words in COMMANDS.items()
        if name not in ("report two", "replay")
    },
    "train": ["--config", "{}", "--print-config"],
    "out": ["report", "run", "--out", "{}x.html"],
    "board": ["board", "{}"],
}


class RunCase(NamedTuple):
    """A command to give in a folder that holds a mutated run, and what was done to the run."""

    kind: str
    words: list[str]
    done: str


def make_desk(desk: Path) -> None:
    """Make a folder with two runs, and odd things beside them; `outside` is what no command may touch or show."""
    shutil.rmtree(desk, ignore_errors=True)
    for name in ("run", "other"):
        for folder in FOLDERS:
            (desk / name / folder).mkdir(parents=True, exist_ok=True)
        points = [
            {
                "step": step,
                "wall_seconds": step,
                "loss": 1 / step,
                "grad_norm": 1.0,
            }
            for step in (1, 2, 3)
        ]
        texts = [
            "".join(f"{json.dumps(point)}\n" for point in points),
            _results(),
            CONFIG,
            "the loss was not finite\n",
        ]
        for file, text in zip(FILES, texts, strict=True):
            (desk / name / file).write_text(text, encoding="utf-8")
    (desk / "outside").mkdir()
    (desk / "outside" / "file").write_text(SECRET, encoding="utf-8")
    for link, target in (
        ("loop", "loop"),
        ("nowhere", "missing"),
        ("zero", "/dev/zero"),
    ):
        (desk / link).symlink_to(target)
    os.mkfifo(desk / "pipe")


def _results() -> str:
    return json.dumps(
        {
            "steps": 3,
            "stopped": None,
            "seconds": 1.0,
            "time": {"step": 1.0},
            "train": {"loss": 0.3},
        }
    )


def mutate(desk: Path, seed: int, number: int) -> RunCase:
    """Change the run of a fresh desk, or choose an odd path: the same for the same seed and number."""
    draw = random.Random(f"runs/{seed}/{number}")
    kind = draw.choice(list(KINDS))
    return KINDS[kind](draw, desk)._replace(kind=kind)


def damage(draw: random.Random, desk: Path) -> RunCase:
    """Bytes of a file changed, cut off, doubled, or one of very many."""
    path = desk / "run" / draw.choice(FILES)
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content))
    change = draw.randrange(4)
    if change == 0:
        content[at] = draw.randrange(256)
    elif change == 1:
        del content[at:]
    elif change == 2:
        content *= draw.choice([2, 1000])
    path.write_bytes(content)
    if change == 3:
        os.truncate(path, 10 * 2**30)
    return _case(draw, f"{path.name} damaged")


def values(draw: random.Random, desk: Path) -> RunCase:
    """A value or a name of JSON replaced by an odd one."""
    path = desk / "run" / draw.choice(FILES[:2])
    lines = path.read_text(encoding="utf-8").splitlines()
    at = draw.randrange(len(lines))
    entries = [
        f"{json.dumps(key)}: {json.dumps(value)}"
        for key, value in json.loads(lines[at]).items()
    ]
    place = draw.randrange(len(entries))
    key = (
        entries[place].partition(": ")[0]
        if draw.random() < 0.7
        else json.dumps(draw.choice(ODD_NAMES))
    )
    entries[place] = f"{key}: {draw.choice(ODD_JSON)}"
    lines[at] = draw.choice(
        ["{" + ", ".join(entries) + "}", draw.choice(ODD_JSON)]
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return _case(draw, f"{path.name} holds {lines[at][:60]}")


def links(draw: random.Random, desk: Path) -> RunCase:
    """A link, a named pipe or a folder in the place of something that a run writes."""
    path = desk / "run" / draw.choice([*FILES, EVENTS, *FOLDERS, *DRAFTS])
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    outside = desk / "outside"
    target = draw.choice(
        [
            outside / "file",
            outside,
            outside / "new",
            desk / "zero",
            path,
            desk / "pipe",
            None,
        ]
    )
    if target is None:
        draw.choice([os.mkfifo, os.mkdir])(path)
    else:
        path.symlink_to(target)
    return _case(draw, f"{path.relative_to(desk)} leads to {target}")


def paths(draw: random.Random, desk: Path) -> RunCase:
    """An odd path given to a command."""
    path, name = draw.choice(ODD_PATHS), draw.choice(list(FOR_PATHS))
    return RunCase(
        "",
        [word.replace("{}", path) for word in FOR_PATHS[name]],
        f"the path {path[:60]!r}",
    )


def _case(draw: random.Random, done: str) -> RunCase:
    return RunCase(
        "",
        [
            word.replace("{}", "run")
            for word in draw.choice(list(COMMANDS.values()))
        ],
        done,
    )


KINDS: dict[str, Callable[[random.Random, Path], RunCase]] = {
    made.__name__: made for made in (damage, values, links, paths)
}


def outcome(
    case: RunCase, desk: Path, call: Callable[[list[str]], int]
) -> tuple[str, str]:
    """What a command gave: (outcome, what it wrote); `call` is given its words, in the desk as working directory.

    The outcome is accepted, refused, or a fault: "unclear" where what was written is no clear line, "led out" where
    something outside of the run was changed, or shown.
    """
    written = io.StringIO()
    with (
        _working_in(desk),
        contextlib.redirect_stdout(written),
        contextlib.redirect_stderr(written),
    ):
        try:
            status = call(case.words)
        except SystemExit as left:
            status = left.code
    text = written.getvalue()
    report = desk / "out.html"
    shown = text + (
        report.read_text(encoding="utf-8") if report.is_file() else ""
    )
    outside = [path.name for path in (desk / "outside").iterdir()]
    if (
        outside != ["file"]
        or (desk / "outside" / "file").read_text(encoding="utf-8") != SECRET
        or SECRET in shown
    ):
        return "led out", text
    if any(
        not line.isprintable() or len(line) > LONGEST_LINE
        for line in text.splitlines()
    ):
        return "unclear", repr(text)
    if status == 0:
        return "accepted", text
    return ("refused" if status == 2 and text.strip() else "unclear"), text


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
