import io
import json
import os
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import rich.console

from tftrain.core.types import LogData
from tftrain.reporting.console import (
    Console,
    ProgressRange,
    board_line,
    board_link,
    print_results,
    print_start,
    results_table,
    screen,
)
from tftrain.reporting.tensorboard.logger import tags

LONG_PATH = Path("runs/" + "a-very-long-name/" * 12 + "end")


def plain():
    return rich.console.Console(
        file=io.StringIO(), force_interactive=False, width=80
    )


def terminal(width=100):
    return rich.console.Console(
        file=io.StringIO(),
        force_terminal=True,
        force_interactive=True,
        width=width,
    )


def plain_steps(course, every_signal, every_validation, **options):
    """Returns the steps for which a run of that cadence prints a line, and all that it printed."""
    console = plain()
    observer = Console(course, "accuracy", console=console, **options)
    for step in range(course.start_step + 1, course.total_steps + 1):
        row = {"loss": 1.0 / step, "accuracy": 0.5, "grad_norm": 2.0}
        observer.on_call(step, row)
        if step % every_validation == 0:
            observer(
                step, LogData(row | {"val_loss": 0.25, "val_accuracy": 0.75})
            )
        elif step % every_signal == 0:
            observer(step, LogData(row))
    observer.close()
    text = console.file.getvalue()
    return [
        int(step) for step in re.findall(r"^step (\d+)/", text, re.MULTILINE)
    ], text


def test_a_plain_line_holds_all_that_counts():
    _, text = plain_steps(ProgressRange(2250, 50), 10, 200)
    [line] = [
        line for line in text.splitlines() if line.startswith("step 200/")
    ]
    assert line == (
        "step 200/2250  epoch 4.0  loss 0.005  accuracy 0.5  grad_norm 2  val_loss 0.25  val_accuracy 0.75"
    )


def test_plain_lines_are_few_and_tell_each_validation():
    for total, every_validation in [
        (2250, 225),
        (2250, 75),
        (1000, 1),
        (100_000, 50_000),
        (7, 3),
    ]:
        steps, _ = plain_steps(
            ProgressRange(total, 10), max(1, total // 1000), every_validation
        )
        assert len(steps) <= 40
        assert len(steps) >= min(20, total)
        assert steps[-1] == total
        if total // every_validation <= 30:
            assert set(
                range(every_validation, total + 1, every_validation)
            ) <= set(steps)


def test_a_given_cadence_is_obeyed():
    steps, _ = plain_steps(ProgressRange(1000, 1), 1, 1, report_every=100)
    assert steps == list(range(100, 1001, 100))
    assert plain_steps(
        ProgressRange(50, 10, start_step=20), 5, 10, report_every=10
    )[0] == [30, 40, 50]


def test_plain_output_has_no_control_characters():
    _, text = plain_steps(ProgressRange(100, 10), 1, 10)
    assert not re.search(r"[^\n -~]", text)


def test_the_bar_shows_progress_and_the_latest_values():
    console = terminal()
    observer = Console(ProgressRange(200, 50), "accuracy", console=console)
    observer.on_call(100, {"loss": 0.125, "accuracy": 0.75, "grad_norm": 3.0})
    observer(100, LogData({"loss": 0.125, "val_loss": 0.5}))
    observer.on_call(101, {"loss": 0.25, "accuracy": 0.75, "grad_norm": 4.0})
    observer.close()
    written = console.file.getvalue()
    last = written[written.rindex("101/200") :]
    for part in (
        "50%",
        "epoch 2.0",
        "ETA",
        "loss 0.25  accuracy 0.75  grad_norm 4  val_loss 0.5",
    ):
        assert part in last
    assert "step 1" not in written  # no plain lines between the bars


def test_a_point_that_comes_late_takes_nothing_back():
    console = terminal()
    observer = Console(ProgressRange(200, 50), "accuracy", console=console)
    observer.on_call(120, {"loss": 0.25})
    observer(100, LogData({"loss": 0.5, "accuracy": 0.75, "val_loss": 0.125}))
    observer.close()
    written = console.file.getvalue()
    last = written[written.rindex("120/200") :]
    assert "loss 0.25  accuracy 0.75  val_loss 0.125" in last


def test_the_bar_and_a_given_cadence_keep_lines_whole():
    console = terminal()
    observer = Console(ProgressRange(30, 10), report_every=10, console=console)
    for step in range(1, 31):
        observer(step, LogData({"loss": 0.5}))
    observer.close()
    lines = re.sub(
        r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", console.file.getvalue()
    ).splitlines()
    assert [line for line in lines if line.startswith("step ")] == [
        f"step {step}/30  epoch {step / 10:.1f}  loss 0.5"
        for step in (10, 20, 30)
    ]


def test_a_narrow_terminal_wraps_nothing():
    console = terminal(width=60)
    observer = Console(
        ProgressRange(200, 50), "sparse_categorical_accuracy", console=console
    )
    observer(
        200,
        LogData(
            {
                "loss": 0.1,
                "sparse_categorical_accuracy": 0.5,
                "grad_norm": 1.0,
                "val_loss": 0.1,
            }
        ),
    )
    observer.close()
    lines = re.sub(
        r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", console.file.getvalue()
    ).splitlines()
    assert max(map(len, lines)) <= 60


def test_results_table_aligns_and_marks_what_is_missing():
    rows = {
        "train": {"loss": 0.0123456, "accuracy": 1.0},
        "validation": {"loss": 12.5},
    }
    assert results_table(rows).splitlines() == [
        "               loss  accuracy",
        "train       0.01235         1",
        "validation     12.5         -",
    ]


def test_long_paths_stay_in_one_piece():
    for console in (plain(), terminal(width=40)):
        print_results({"test": {"loss": 0.5}}, LONG_PATH, console=console)
        lines = re.sub(
            r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()
        ).splitlines()
        assert f"tensorboard --logdir {LONG_PATH}" in lines
        assert f"run folder: {LONG_PATH}" in lines


def test_the_tensorboard_line_can_be_pasted():
    console = plain()
    print_results(
        {"test": {"loss": 0.5}},
        Path("my [bold] run"),
        "loss [bold] stood still",
        console=console,
    )
    lines = console.file.getvalue().splitlines()
    line = lines[-1]
    assert "stopped early: loss [bold] stood still" in lines
    assert shlex.split(line) == ["tensorboard", "--logdir", "my [bold] run"]


def test_a_run_among_others_is_opened_with_them_by_its_name():
    assert board_line(Path("runs/a run")) == "tensorboard --logdir runs"
    assert board_line(Path("/tmp/a.run")) == "tensorboard --logdir /tmp/a.run"
    asked = parse_qs(urlsplit(board_link(Path("runs/a.run"))).query)
    assert re.search(asked["runFilter"][0], "a.run/val") and not re.search(
        asked["runFilter"][0], "a.run2"
    )
    assert "runFilter" not in board_link(Path("/tmp/a.run"))
    pinned = [card["tag"] for card in json.loads(asked["pinnedCards"][0])]
    assert pinned[0] == "Overview/loss" and asked["smoothing"] == ["0"]
    scalars = dict.fromkeys(
        ("loss", "grad_norm", "grad_norm_max", "depth_ratio"), 0.5
    )
    assert set(pinned) == {*tags(scalars)[""]}


def test_only_a_terminal_gets_a_link():
    for console, linked in ((plain(), False), (terminal(), True)):
        print_start(Path("runs/a"), console)
        told = console.file.getvalue()
        assert (
            "tensorboard --logdir runs\n" in told
            and ("pinnedCards" in told) == linked
        )


@pytest.mark.skipif(
    not os.path.exists("/dev/full"),
    reason="there is no disk that is always full",
)
def test_a_run_goes_on_in_silence_where_nothing_can_be_printed(monkeypatch):
    with open("/dev/full", "w") as full:
        with pytest.raises(OSError):
            os.write(full.fileno(), b"a")
        monkeypatch.setattr(sys, "stdout", full)
        observer = Console(ProgressRange(10, 5), console=screen())
        for step in (5, 10):
            observer(step, LogData({"loss": 1.0, "val_loss": 1.0}))
        observer.close()
        print("said once more", flush=True)
        assert os.write(full.fileno(), b"a") == 1, (
            "what nobody reads goes nowhere from then on"
        )
