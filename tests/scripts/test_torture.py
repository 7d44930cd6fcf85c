"""What scripts/torture/run finds equal, what it damages, and how it counts; a short form of it strikes real runs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

import tftrain

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts" / "torture"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


def load(name):
    return importlib.import_module(name)


def test_help_needs_no_tensorflow():
    code = "import sys, torture\ntry: torture.main(['--help'])\nfinally: assert 'tensorflow' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(
        word in done.stdout
        for word in (
            "--kills",
            "--seed",
            "--configs",
            "--json",
            "exit status 143",
        )
    )


def test_a_config_that_is_not_there_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        load("torture").parsed(["--configs", "dense,sparse"])
    assert (
        ended.value.code == 2
        and "there is no sparse; expected some of dense"
        in capsys.readouterr().err
    )


def test_every_config_is_right(tmp_path, monkeypatch):
    configs = load("torture_configs")
    monkeypatch.chdir(tmp_path)
    paths = configs.write_configs(tmp_path, list(configs.CONFIGS))
    assert all(
        tftrain.load(path).checkpoint.every == 10 for path in paths.values()
    )


def test_faults_and_their_meanings_are_the_same():
    assert set(load("torture_faults").FAULTS) == set(
        load("torture_report").KINDS
    )


def test_every_difference_is_found():
    differences = load("torture_compare").differences
    expected = {
        "events/a/1": ["1.0"],
        "events/a/2": ["2.0"],
        "metrics/2/a": [2.0],
        "model/w": "bits",
    }
    assert differences(dict(expected), expected, torn=False) == []
    twice = expected | {"events/a/2": ["2.0", "2.0"]}
    missing = {
        name: value
        for name, value in expected.items()
        if not name.endswith("2")
    }
    for found in (
        twice,
        missing,
        expected | {"model/w": "others"},
        expected | {"events/a/3": ["3.0"]},
    ):
        assert len(differences(found, expected, torn=False)) == 1
    assert (
        differences(missing, expected, torn=True) == []
    )  # of a torn file points may be missing, and nothing else
    assert (
        len(differences(expected | {"model/w": "others"}, expected, torn=True))
        == 1
    )
    assert len(differences(twice, expected, torn=True)) == 1


def test_how_long_steps_took_is_no_difference():
    remembered = {
        "window": {"waiting": {"loss": [1], "seconds": [2]}},
        "best": {"best": 0.5},
    }
    expected = {"window": {"waiting": {"loss": [1]}}, "best": {"best": 0.5}}
    assert load("torture_compare")._without_times(remembered) == expected


def test_a_clock_is_off_in_one_process(monkeypatch):
    session = load("torture_session")
    monkeypatch.setattr(time, "time", lambda: 100.0)
    session.shift_clock(-40.0)
    assert time.time() == 60.0


def test_damage_changes_a_file(tmp_path):
    faults = load("torture_faults")
    seen = set()
    for seed in range(20):
        file = tmp_path / str(seed)
        file.write_bytes(bytes(range(100)))
        way = faults._damage(file, Random(seed))
        found = file.read_bytes() if file.exists() else None
        seen.add(way)
        if way == "flipped":
            assert (
                len(found) == 100
                and sum(a != b for a, b in zip(found, range(100), strict=True))
                == 1
            )
        else:
            assert (
                found is None
                if way == "removed"
                else bytes(range(100)).startswith(found) and len(found) < 100
            )
    assert seen == set(faults.CHANGED)


def test_reports_add_up():
    report = load("torture_report")
    one, other = (
        report.Report(runs=2, lost=1, problems=["a"]),
        report.Report(runs=3),
    )
    one.tried.update(["kill", "kill"])
    other.tried.update(["kill", "stop"])
    other.survived.update(["kill"])
    total = report.summed([one, other])
    assert (total.runs, total.lost, total.problems, dict(total.tried)) == (
        5,
        1,
        ["a"],
        {"kill": 3, "stop": 1},
    )
    assert load("torture").row("all", total).split()[:3] == ["all", "5", "1/3"]


def test_a_run_that_is_struck_four_times_comes_to_the_same_end(tmp_path):
    found = tmp_path / "found.json"
    words = [
        "--configs",
        "dense",
        "--kills",
        "4",
        "--seed",
        "13",
        "--json",
        str(found),
    ]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "torture.py", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(found.read_text())["dense"]
    assert sum(report["survived"].values()) == 4 and report["lost"] == 0
    assert done.stdout.splitlines()[-1].split()[-2:] == ["4/4", "0"]
