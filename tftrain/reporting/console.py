"""Shows a run on the terminal: a bar that lives, or plain lines where the output is no terminal."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from urllib.parse import urlencode

from rich import console as rich_console
from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.style import Style
from rich.table import Table
from rich.text import Text

from tftrain.core.types import LogData
from tftrain.runtime.terminal import printable, printable_lines

PLAIN_LINES = 20  # about how many a run prints between validations
VALIDATION_LINES = 30  # how many of its validations it prints at most
VALIDATION = "val_"
_WIDEST = 1000
RUNS = "runs"
PINNED = (
    *(
        "Overview/loss",
        "Overview/log10_grad_norm",
        "Overview/log10_grad_norm_max",
    ),
    "Overview/depth_ratio_decades",
)


class ProgressRange(NamedTuple):
    """How far a run goes, in steps."""

    total_steps: int
    steps_per_epoch: int
    start_step: int = 0


def screen() -> rich_console.Console:
    """Returns the console on standard output; interactive only where a person's terminal can redraw a line."""
    live = sys.stdout.isatty() and os.environ.get("TERM", "") not in (
        "",
        "dumb",
    )
    return rich_console.Console(
        file=_SafeStream(sys.stdout), force_interactive=live
    )


class _SafeStream:
    """A stream that is silent once it cannot be written to, as after `| head`, on a full disk or a closed terminal."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        self._write_or_mute(self._stream.write, text)

    def flush(self) -> None:
        self._write_or_mute(self._stream.flush)

    def _write_or_mute(self, action: Callable, *arguments: str) -> None:
        try:
            action(*arguments)
        except OSError:  # the run is worth more
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Console:
    """An observer that owns the terminal from when it is made until `close()`.

    `metric` names the scalar shown beside the loss. With `report_every` a line is printed every so many steps, above
    the bar if there is one; without it, and without a terminal, at the validations and some 20 times besides.
    """

    def __init__(
        self,
        course: ProgressRange,
        metric: str | None = None,
        report_every: int | None = None,
        console: rich_console.Console | None = None,
    ):
        self._course = course
        names = ["loss", "grad_norm"]
        if metric:
            names.insert(1, metric)
        # Training before validation.
        self._names = names + [VALIDATION + name for name in names]
        self._report_every = report_every
        self._console = console or screen()
        # The step and the value of each name.
        self._latest: dict[str, tuple[int, float]] = {}
        self._step = course.start_step
        self._printed_step = self._validated_step = course.start_step
        self._printed = False
        self._live = self._start_bar() if self._console.is_interactive else None

    def on_call(self, step: int, row: Mapping[str, float]) -> None:
        """Take the scalars of the last step of a call of the graph.

        This is cheap: the bar redraws itself by the clock. Points may come later than the
        calls that they were in, and from another thread: nothing goes back.

        Args:
            step: number of the step.
            row: its scalars by name.
        """
        self._step = max(step, self._step)
        for name in self._names:
            if name in row and step >= self._latest.get(name, (0, 0.0))[0]:
                self._latest[name] = step, row[name]

    def __call__(self, step: int, signals: LogData) -> None:
        scalars = signals.scalars
        self.on_call(step, scalars)
        if (
            (self._report_every or not self._live)
            and self._format_values(scalars)
            and self._is_line_due(step, scalars)
        ):
            _say(self._console, self._format_line(step, scalars))
            self._printed = True
            self._printed_step = step

    def close(self) -> None:
        """Leave the terminal to others."""
        if self._live:
            self._live.stop()

    def _is_line_due(self, step: int, scalars: Mapping[str, float]) -> bool:
        since = step - self._printed_step
        if step >= self._course.total_steps:
            return True
        if self._report_every:
            return (
                step // self._report_every
                > self._printed_step // self._report_every
            )
        total = self._course.total_steps - self._course.start_step
        validated = VALIDATION + "loss" in scalars
        if (
            validated
            and (step - self._validated_step) * VALIDATION_LINES >= total
        ):
            self._validated_step = step
            return True
        return not self._printed or since * PLAIN_LINES >= total

    def _format_line(self, step: int, scalars: Mapping[str, float]) -> str:
        epoch = step / self._course.steps_per_epoch
        return "  ".join(
            [
                f"step {step}/{self._course.total_steps}",
                f"epoch {epoch:.1f}",
                *self._format_values(scalars),
            ]
        )

    def _format_values(self, scalars: Mapping[str, float]) -> list[str]:
        """Returns "name value" for what is shown of the scalars."""
        return [
            f"{name} {format_number(scalars[name])}"
            for name in self._names
            if name in scalars
        ]

    def _start_bar(self) -> Live:
        total, _, start = self._course
        self._progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:.0f}%"),
            TextColumn("{task.fields[epoch]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            _Speed(),
            console=self._console,
            expand=True,
        )
        self._task = self._progress.add_task(
            "", total=total, completed=start, epoch=""
        )
        live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=8,
        )
        live.start()
        return live

    def _render(self) -> Group:
        epoch = f"epoch {self._step / self._course.steps_per_epoch:.1f}"
        self._progress.update(self._task, completed=self._step, epoch=epoch)
        latest = {
            name: value for name, (_, value) in self._latest.copy().items()
        }
        words = (
            "  ".join(self._format_values(latest))
            or "building the graph of the first step"
        )
        return Group(
            self._progress.get_renderable(),
            Text(printable(words), no_wrap=True, overflow="ellipsis"),
        )


class _Speed(ProgressColumn):
    """Steps per second over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(
            f"{format_number(task.speed)} steps/s" if task.speed else ""
        )


def format_number(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{float(value):.4g}"


def results_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return results such as {"test": {"loss": 0.1, "accuracy": 0.98}} as lines of aligned columns."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [["", *names]]
    cells += [
        [
            split,
            *(
                format_number(row[name]) if name in row else "-"
                for name in names
            ),
        ]
        for split, row in rows.items()
    ]
    first, *widths = [
        max(map(len, column)) for column in zip(*cells, strict=True)
    ]
    lines = []
    for split, *numbers in cells:
        columns = [
            number.rjust(width)
            for number, width in zip(numbers, widths, strict=True)
        ]
        lines.append("  ".join([split.ljust(first), *columns]).rstrip())
    return "\n".join(lines)


def print_results(
    rows: Mapping[str, Mapping[str, float]],
    run_dir: Path,
    stopped: str | None = None,
    notes: Sequence[str] = (),
    console: rich_console.Console | None = None,
) -> None:
    """Print why the run ended early, the table of results, and how to open the run's folder.

    Args:
        rows: results by split.
        run_dir: folder of the run.
        stopped: why the run ended early, or None.
        notes: lines below the table: which weights it is of, and where the time went.
        console: where to print; None for the terminal.
    """
    console = console or screen()
    if stopped:
        _say(console, f"\nstopped early: {stopped}")
    _say(console, f"\n{results_table(rows)}\n")
    for note in notes:
        _say(console, f"{note}\n")
    _say(console, f"run folder: {run_dir}")
    _say(console, board_line(run_dir))


def board_line(run_dir: Path) -> str:
    """The command that opens TensorBoard on a run: on all of `runs/`, where it has a name and others beside it."""
    return f"tensorboard --logdir {shlex.quote(str(_log_directory(run_dir)))}"


def board_link(run_dir: Path, port: int = 6006) -> str:
    """Return where TensorBoard shows the run, with its loss and gradient norms above all other cards.

    Args:
        run_dir: folder of the run.
        port: of TensorBoard on this machine.
    """
    query = {}
    if _log_directory(run_dir) != run_dir:
        query["runFilter"] = f"^{re.escape(run_dir.name)}(/|$)"
    return with_pins(f"http://localhost:{port}/", **query)


def with_pins(address: str, **query: str) -> str:
    """Return where TensorBoard shows the pinned cards above all others.

    Args:
        address: of TensorBoard.
        query: further parameters of the address.
    """
    pinned = json.dumps(
        [{"plugin": "scalars", "tag": tag} for tag in PINNED],
        separators=(",", ":"),
    )
    return f"{address}?{urlencode({'pinnedCards': pinned, 'smoothing': 0, **query})}#timeseries"


def print_start(
    run_dir: Path, console: rich_console.Console | None = None
) -> None:
    """Print how to watch a run while it goes on.

    Args:
        run_dir: folder of the run.
        console: where to print; None for the terminal.
    """
    console = console or screen()
    _say(console, board_line(run_dir))
    if console.is_terminal:
        print_link(
            "then see ",
            "http://localhost:6006",
            board_link(run_dir),
            console=console,
        )


def print_link(
    text: str,
    label: str,
    link: str,
    suffix: str = "",
    console: rich_console.Console | None = None,
) -> None:
    """Print a label that is a link, where a terminal knows links.

    Args:
        text: printed before the label.
        label: the short address that is shown.
        link: the address it leads to.
        suffix: printed after the label.
        console: where to print; None for the terminal.
    """
    console = console or screen()
    console.print(text, end="", highlight=False)
    console.print(label, style=Style(link=link), end="", highlight=False)
    console.print(suffix, highlight=False)


def _log_directory(run_dir: Path) -> Path:
    return run_dir.parent if run_dir.parent.name == RUNS else run_dir


def print_table(
    table: Table, parent: Path, console: rich_console.Console | None = None
) -> None:
    """Prints a table of runs, and how to open the folder they are in."""
    console, text = console or screen(), io.StringIO()
    rich_console.Console(file=text, width=_WIDEST).print(
        table
    )  # a row is one line, also in a narrow terminal or a log
    _say(
        console,
        "\n"
        + "\n".join(line.rstrip() for line in text.getvalue().splitlines()),
    )
    _say(console, f"\ntensorboard --logdir {shlex.quote(str(parent))}")


def _say(console: rich_console.Console, text: str) -> None:
    """Prints text as it stands: never wrapped, cut or taken for markup."""
    console.print(
        printable_lines(text),
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=True,
    )
