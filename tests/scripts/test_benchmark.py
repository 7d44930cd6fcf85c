"""The arithmetic of scripts/benchmark, what it is asked, and the configs it writes; nothing is timed."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tftrain

SCRIPTS = (
    Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


def load(name):
    return importlib.import_module(name)


def test_help_needs_no_tensorflow():
    code = "import sys, benchmark\ntry: benchmark.main(['--help'])\nfinally: assert 'tensorflow' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(
        f"--{word}" in done.stdout
        for word in (
            "workloads",
            "peers",
            "repeats",
            "seconds",
            "quick",
            "json",
        )
    )


def test_a_name_that_is_not_there_is_told_with_those_that_are(capsys):
    with pytest.raises(SystemExit) as ended:
        load("benchmark").parsed(["--workloads", "iris_mlp,lstn"])
    assert ended.value.code == 2
    assert (
        "there is no lstn; expected some of iris_mlp, digits_mlp"
        in capsys.readouterr().err
    )


def test_quick_is_short_and_names_are_read():
    asked = load("benchmark").parsed(
        ["--quick", "--workloads", "lstm,wide_mlp", "--peers", "limit"]
    )
    assert (asked.repeats, asked.seconds, asked.workloads, asked.peers) == (
        2,
        1.0,
        ["lstm", "wide_mlp"],
        ["limit"],
    )
    assert asked.what == "speed"


def test_ratios_compare_within_a_round():
    # The machine was half as fast in the second round; the ratio of the medians would say 10 / 30.
    speeds = {"tftrain": [20.0, 10.0, 8.0], "limit": [40.0, 20.0, 30.0]}
    assert load("benchmark_table").ratios(speeds, "tftrain") == {
        "limit": (0.5, pytest.approx(8 / 30), 0.5)
    }


def test_tables_hold_medians_and_spreads():
    table = load("benchmark_table")
    speeds = {
        "iris_mlp": {
            "tftrain": [3000.0, 2000.0, 2500.0],
            "limit": [6000.0, 8000.0, 5000.0],
        },
        "lstm": {},
    }
    speeds["lstm"] = {"tftrain": [1.234, 1.3, 1.1]}
    lines = table.speed_table(speeds, ["tftrain", "limit"]).splitlines()
    assert [line.replace(" ", "") for line in lines[2:]] == [
        "|iris_mlp|2500|6000|",
        "|lstm|1.23|-|",
    ]
    assert "| 0.50 (0.25..0.50) |" in table.ratio_table(
        speeds, ["limit"], "tftrain"
    )
    assert len({len(line) for line in lines}) == 1


def test_what_a_logged_step_adds():
    # 10 steps take 0.1 s without logging, and 0.12 s where one of them is logged.
    added = load("benchmark_layers").added_microseconds(10 / 0.12, 100.0, 10)
    assert added == pytest.approx(20_000)


def test_a_stretch_begins_and_ends_with_a_step():
    began = time.perf_counter()
    done, at = load("benchmark_worker").after_next_step(
        lambda: int((time.perf_counter() - began) / 0.02)
    )
    assert done == 1 and at - began >= 0.02


def test_the_processor_time_of_others_is_not_ones_own():
    seconds_of_others = load("benchmark_worker").cpu_seconds_of_others
    without_this, nobody = seconds_of_others(os.getpid()), seconds_of_others(0)
    assert math.isnan(nobody) and (math.isnan(without_this) or without_this > 0)


@pytest.mark.parametrize(
    "name",
    [
        "iris_mlp",
        "digits_mlp",
        "deep_mlp",
        "mnist_cnn",
        "lstm",
        "wide_mlp",
        "dense_50",
    ],
)
def test_every_workload_is_a_config_that_is_right(name, tmp_path):
    workloads = load("benchmark_workloads")
    for log_every in (10, None):
        config = tftrain.load(
            workloads.write_config(tmp_path / "config.yaml", name, log_every)
        )
        assert config.log.histograms_every == (log_every or "never")
    assert len(config.model.given["layers"]) == len(
        workloads.workload(name).layers
    )
    assert (config.gradients.clip[0].name, config.optimizer.name) == (
        "global_norm",
        "adam",
    )


def test_the_workloads_have_their_shapes():
    workloads = load("benchmark_workloads")
    shapes = {
        name: [array.shape for array in one.arrays()]
        for name, one in workloads.WORKLOADS.items()
    }
    assert shapes["mnist_cnn"] == [(1797, 28, 28, 1), (1797,)] and shapes[
        "lstm"
    ] == [
        (512, 100, 1),
        (512,),
    ]
    assert shapes["wide_mlp"] == [(4096, 784), (4096,)] and shapes[
        "iris_mlp"
    ] == [
        (150, 4),
        (150,),
    ]
    x, _ = workloads.large_digits()
    first = workloads.flat_digits()[0][0].reshape(8, 8)
    np.testing.assert_array_equal(
        x[0, :, :, 0], np.kron(first, np.ones((4, 4)))[2:30, 2:30]
    )
    assert [
        layer.get("units") for layer in workloads.workload("dense_3").layers
    ] == [
        64,
        64,
        10,
    ]


def test_deep_networks_are_configs_that_are_right(tmp_path):
    recompute = load("benchmark_recompute")
    for name in recompute.DEEP:
        for again in (True, False):
            config = tftrain.load(
                recompute.write_config(tmp_path / "config.yaml", name, again)
            )
            assert config.gradients.remat is again


@pytest.mark.long
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux's /proc"
)
def test_memory_falls_where_activations_are_computed_again():
    found = load("benchmark_recompute").measured("dense", 1)["megabytes"]
    assert found["again"][0] < 0.6 * found["kept"][0]  # 0.35


@pytest.mark.long
def test_a_race_of_one_round(tmp_path):
    found = tmp_path / "found.json"
    words = [
        "--workloads",
        "iris_mlp",
        "--peers",
        "limit",
        "--repeats",
        "1",
        "--seconds",
        "0.2",
    ]
    words += ["--warm-seconds", "0.2", "--json", str(found)]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "benchmark.py", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(found.read_text())["speed"]
    speeds = report["steps_per_second"]["iris_mlp"]
    ratio = speeds["tftrain"][0] / speeds["limit"][0]
    assert report["ratios"]["iris_mlp"]["limit"]["median"] == pytest.approx(
        ratio
    )
    assert f"{ratio:.2f}" in done.stdout


def test_the_cost_of_methods_is_that_of_the_shortest_rounds(tmp_path):
    methods = load("benchmark_methods")
    seconds = {
        "20": {
            "backprop": [0.001, 0.002, 0.001],
            "forward": [0.002, 0.004, 0.003],
            "numeric": [0.01, 0.01, 0.01],
        },
        "2000": {
            "backprop": [0.002] * 3,
            "forward": [0.1] * 3,
            "numeric": [2.0] * 3,
        },
    }
    lines = methods.table(seconds).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        *("20", "1.00", "2.00", "10.0", "2.00", "10.0"),
    ]
    methods.drawn(seconds).savefig(tmp_path / "methods.png")
    assert (tmp_path / "methods.png").stat().st_size > 10_000
    with pytest.raises(SystemExit):
        load("benchmark").parsed(["methods", "--picture", "methods.jpg"])


@pytest.mark.long
def test_the_bytes_of_a_run_are_those_of_its_points(monkeypatch, tmp_path):
    board = load("benchmark_board")
    monkeypatch.setattr(board, "POINTS", 150)
    monkeypatch.setattr(board, "LAYERS", 3)
    board.train(tmp_path / "log" / "run")
    found = board.disk(tmp_path)
    plain = 150 - found["measured_points"]
    points = (
        plain * found["point"] + found["measured_points"] * found["measured"]
    )
    assert 0 < points < found["run"] < 3 * points, (
        "the rest are the first point with all names, config and graph"
    )
    assert found["point"] < found["stock_point"] < found["stock_measured"]
