"""Every command that takes a path, given every odd one: exit status 2, one line that a terminal can show, soon."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from pathlib import Path

import pytest

from tftrain import load
from tftrain.cli import main
from tftrain.runtime import untrusted
from tftrain.runtime.errors import ConfigError
from tftrain.runtime.untrusted import Unreadable

GOOD = "model: mlp\ndata: iris\noptimizer: adam\n"
POINT = '{"step": 1, "wall_seconds": 1, "loss": 1}\n'
ODD = {
    "a long name": "x" * 300,
    "a long path": "/".join(["x" * 200] * 30),
    "a loop of links": "loop",
    "within a loop": "loop/a",
    "a link to nothing": "dangling",
    "a folder without anything": "folder",
    "within a file": "file/x",
    "NUL": "a\0b",
    "half of a character": "a\ud800b",
    "not UTF-8": os.fsdecode(b"b\xff\xfed"),
    "a named pipe": "pipe",
    "a link to a device": "zero",
    "a device": "/dev/null",
    "nothing": "",
    "escape codes": "new\nline\x1b[31m\u202e",
    "not there": "q\x1b]0;title\a",
}
COMMANDS = {
    "train": ["--config", "{}"],
    "resume": ["--resume", "--run-dir", "{}"],
    "print": ["--print-config", "--config", "{}"],
    "inspect": ["inspect", "--config", "{}"],
    "inspect a checkpoint": ["inspect", "--checkpoint", "{}"],
    "check-gradients": ["check-gradients", "--config", "{}"],
    "sweep": ["sweep", "--config", "{}"],
    "report": ["report", "{}"],
    "report several": ["report", "run", "{}"],
    "plot": ["plot", "{}"],
    "board": ["board", "{}"],
    "replay": ["replay", "{}"],
}
OUTPUTS = {
    "report": ["report", "run", "--out", "{}/x.html"],
    "plot": ["plot", "run", "--out", "{}/x.png"],
}
NO_FOLDERS = (
    "a long name",
    "a long path",
    "a loop of links",
    "within a loop",
    "a link to nothing",
    "within a file",
)
NO_FOLDERS += (
    "NUL",
    "half of a character",
    "a named pipe",
    "a link to a device",
    "a device",
)
posix = pytest.mark.skipif(
    os.name != "posix", reason="links and pipes are made as on POSIX"
)
pytestmark = posix


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(GOOD)
    Path("file").write_text("x: 1\n")
    for name, target in (
        ("loop", "loop"),
        ("dangling", "nowhere"),
        ("zero", "/dev/zero"),
    ):
        os.symlink(target, name)
    os.mkfifo("pipe")
    for name in ("folder", "run", ODD["not UTF-8"], ODD["escape codes"]):
        os.mkdir(name)
    Path("run", "metrics.jsonl").write_text(POINT)
    return tmp_path


@pytest.fixture(autouse=True)
def soon():
    """What waits for a named pipe or reads without an end is cut off."""

    def ring(*_):
        raise TimeoutError("it takes too long")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(capsys, words, path):
    there = sorted(os.listdir())
    try:
        status = main([word.replace("{}", path) for word in words])
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert sorted(os.listdir()) == there, "something was written"
    return status, out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_odd_path_is_one_line(desk, capsys, command):
    for kind, path in ODD.items():
        status, out, err = run(capsys, COMMANDS[command], path)
        line = err.removesuffix("\n")
        assert (status, out) == (2, ""), f"{kind}: {err}"
        assert line.isprintable() and 10 < len(line) < 2100, f"{kind}: {err!r}"


@pytest.mark.parametrize("command", OUTPUTS)
def test_where_nothing_can_be_written_is_told_before_anything_is_read(
    desk, capsys, command
):
    for kind in NO_FOLDERS:
        status, out, err = run(capsys, OUTPUTS[command], ODD[kind])
        assert (status, out, err.count("\n")) == (
            2,
            "",
            1,
        ) and "argument --out: " in err, f"{kind}: {err}"
    for out in ("folder", ""):
        assert run(capsys, [*OUTPUTS[command][:3], out], "")[0] == 2


def test_a_base_that_cannot_be_read_is_told_at_its_place(desk):
    for kind, path in ODD.items():
        Path("above.yaml").write_text(
            f"base: {json.dumps(path)}\ntraining: {{steps: 1}}\n"
        )
        with pytest.raises(ConfigError) as caught:
            load("above.yaml")
        [line] = caught.value.problems
        assert line.isprintable() and "above.yaml:1:7: base: " in line, (
            f"{kind}: {line}"
        )


def test_a_long_chain_of_bases_is_refused(desk):
    for number in range(200):
        Path(f"c{number}.yaml").write_text(f"base: c{number + 1}.yaml\n")
    with pytest.raises(
        ConfigError, match="more than 50 files build upon one another"
    ):
        load("c0.yaml")


@pytest.mark.parametrize(
    "words", [["--run-dir", "{}"], ["--run-dir", "{}", "--resume"]]
)
def test_a_run_folder_that_cannot_be_made_is_refused_before_tensorflow_is_loaded(
    desk, capsys, words
):
    for kind in (*NO_FOLDERS, "not UTF-8", "nothing"):
        status, out, err = run(
            capsys, ["--config", "config.yaml", *words], ODD[kind]
        )
        assert (status, out, err.count("\n")) == (2, "", 1) and err[
            :-1
        ].isprintable(), f"{kind}: {err}"


def test_what_may_not_be_read_is_told(desk, capsys, monkeypatch):
    real_open, real_stat, real_listdir = os.open, os.stat, os.listdir

    def refusing(real):
        def call(path=".", *args, **named):
            if "folder" in os.fspath(
                path if isinstance(path, (str, os.PathLike)) else ""
            ):
                raise PermissionError(
                    errno.EACCES, os.strerror(errno.EACCES), path
                )  # which root never meets
            return real(path, *args, **named)

        return call

    monkeypatch.setattr(os, "open", refusing(real_open))
    monkeypatch.setattr(os, "stat", refusing(real_stat))
    for command in (
        "train",
        "resume",
        "report",
        "plot",
        "board",
        "replay",
        "inspect a checkpoint",
    ):
        status, out, err = run(capsys, COMMANDS[command], "folder")
        assert (status, out, err.count("\n")) == (
            2,
            "",
            1,
        ) and "Permission denied" in err, f"{command}: {err}"
    monkeypatch.undo()
    monkeypatch.chdir(desk)
    monkeypatch.setattr(os, "listdir", refusing(real_listdir))
    assert "Permission denied" in run(capsys, COMMANDS["board"], "folder")[2]


def test_a_link_to_a_run_is_as_good_as_the_run(desk, capsys):
    os.symlink("run", "latest")
    assert main(["plot", "latest"]) == 0 and main(["report", "latest"]) == 0
    assert (
        Path("run/curves.png").is_file() and Path("run/report.html").is_file()
    )


def test_a_circle_of_links_does_not_keep_the_board_for_ever(desk, capsys):
    Path("run", "events.out.tfevents.1").write_bytes(b"")
    for name in "ab":
        os.symlink(".", f"run/{name}")
    assert "leads in a circle" in run(capsys, ["board", "run"], "")[2]
    for name in "ab":
        os.unlink(f"run/{name}")
    os.mkfifo("run/events.out.tfevents.2")
    assert (
        "is a named pipe; expected a file"
        in run(capsys, ["board", "run"], "")[2]
    )


def test_only_regular_files_are_opened_and_so_many_bytes_read(desk):
    for path in ("pipe", "zero", "/dev/null", "folder"):
        with pytest.raises(Unreadable, match="expected a file"):
            untrusted.open_file(path)
    with open("huge", "wb") as file:
        file.truncate(10 * 2**30)
    for read in (
        untrusted.read_bytes,
        untrusted.read_text,
        untrusted.read_json,
    ):
        with pytest.raises(Unreadable, match="more than 16777216 bytes"):
            read("huge")
    with pytest.raises(Unreadable, match="number 1, of more than 1000 bytes"):
        list(untrusted.read_lines("huge", limit=1000))
    Path("lines").write_bytes(b"a\n\r\nb")
    assert list(untrusted.read_lines("lines", limit=3)) == [
        b"a\n",
        b"\r\n",
        b"b",
    ]


def test_no_link_within_a_run_is_followed(desk):
    os.makedirs("run/incidents/1")
    os.symlink("../../../file", "run/incidents/1/incident.txt")
    os.symlink("../folder", "run/val")
    for path in ("run/incidents/1/incident.txt", "run/val/x"):
        with pytest.raises(Unreadable, match="is a symbolic link"):
            untrusted.open_file(path, root=Path("run"))
    os.symlink("run", "elsewhere")
    with untrusted.open_file(
        "elsewhere/metrics.jsonl", root=Path("elsewhere")
    ) as file:
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "is nested too deeply"),
        ("1" * 10_000, "holds a number of too many digits"),
        ("{", "is not JSON: Expecting"),
        (b"\xff\xfe{}", "is not"),
        ("", "is not JSON"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Unreadable, match=f"^{path} {message}"):
        untrusted.read_json(path)
