"""Who the workers are, and that nobody waits for one without a word or an end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tftrain
from tftrain.runtime import cluster

ROOT = Path(__file__).parent.parent.parent
CONFIG = """
model: {name: mlp, hidden: [8]}
data: {name: wine, batch_size: 27, validation: 0.2, test: 0.1, preprocess: standardize}
optimizer: {name: adamw, learning_rate: 1e-2}
gradients: {clip: {name: global_norm, limit: 0.5}, accumulate_steps: 2}
training: {epochs: 3, seed: 3, ema: 0.9, early_stopping: {patience: 50}}
log: {scalars: 1}
checkpoint: {every: 5}
"""  # 5 steps in an epoch, of 27 examples and a last one of 16
# The command line with another time-out; with DIE it is killed when it is through.
WORKER = """
import os, signal, sys
import tftrain.runtime.cluster
tftrain.runtime.cluster.TIMEOUT_SECONDS, tftrain.runtime.cluster._NOTICE_SECONDS = float(sys.argv.pop(1)), 0
from tftrain.cli import main
status = main()
if "DIE" in os.environ:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(status)
"""


def free_ports(count):
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def tf_config(ports, index, kind="worker"):
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return json.dumps(
        {"cluster": cluster, "task": {"type": kind, "index": index}}
    )


def start(ports, index, words, seconds=60, **environment):
    environment = {
        "TF_CONFIG": tf_config(ports, index),
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    command = [sys.executable, "-c", WORKER, str(seconds), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        command,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        **pipes,
    )


@pytest.fixture
def words(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    given = ["--config", tmp_path / "small.yaml", "--run-dir", tmp_path / "run"]
    return [*given, "--set", "training.strategy=multi_worker"]


def test_two_workers_end_like_one_also_after_one_has_died(words, tmp_path):
    (tmp_path / "scratch").mkdir()
    ports, own = free_ports(2), {"TMPDIR": str(tmp_path / "scratch")}
    chief = start(ports, 0, words)
    other = start(
        ports, 1, [*words, "--set", "training.epochs=2"], DIE="1", **own
    )
    assert chief.wait(120) == 3 and other.wait(10) == -signal.SIGKILL
    said = chief.stderr.read()
    assert (
        f"worker 1 (localhost:{ports[1]}) is gone" in said
        and "Traceback" not in said
    )
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert "model.keras" not in left

    ports = free_ports(2)
    chief, other = (
        start(ports, 0, [*words, "--resume"]),
        start(ports, 1, [*words, "--resume"], **own),
    )
    assert (chief.wait(120), other.wait(20)) == (0, 0), chief.stderr.read()
    assert other.stdout.read() == "" and "test " in chief.stdout.read()
    assert not [
        path
        for path in (tmp_path / "scratch").iterdir()
        if path.name.startswith("tmp")
    ]
    assert (
        len(list((tmp_path / "run").glob("events*[0-9]"))) == 2
    )  # one of each session

    alone = tftrain.train(
        tftrain.load(tmp_path / "small.yaml"), tmp_path / "alone"
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for split, scores in alone.results.items():
        for name, value in scores.items():
            assert results[split][name] == pytest.approx(value, rel=1e-5), (
                split,
                name,
            )
    found = tftrain.load_model(tmp_path / "run").get_weights()
    for mine, theirs in zip(found, alone.model.get_weights(), strict=True):
        # Sums of 27 examples in another order move a weight below 1 by some 1e-7 in each of 15 steps.
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_worker_that_does_not_come(words):
    ports = free_ports(2)
    chief = start(ports, 0, words, seconds=1)
    assert chief.wait(60) == 3
    waiting, gone = chief.stderr.read().splitlines()[-2:]
    assert waiting == f"waiting for worker 1 (localhost:{ports[1]})"
    assert gone.startswith(
        f"worker 1 (localhost:{ports[1]}) did not answer within 1.0 s; every worker must be started"
    )


def test_who_is_who(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config([1, 2], 1))
    assert cluster.read_cluster() == (("localhost:1", "localhost:2"), 1)
    assert not cluster.is_chief("multi_worker") and cluster.is_chief("mirrored")
    named = {
        "cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]},
        "task": {"type": "worker", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(named))
    assert cluster.read_cluster() == (("a:1", "b:2", "c:3"), 1)
    named["task"]["type"] = "chief"
    monkeypatch.setenv("TF_CONFIG", json.dumps(named))
    assert cluster.read_cluster().index == 0 and cluster.is_chief(
        "multi_worker"
    )


@pytest.mark.parametrize(
    "given, message",
    [
        (None, "TF_CONFIG does not say who the workers are"),
        ("no json", "TF_CONFIG does not say who the workers are"),
        (
            '{"cluster": {"worker": ["host"]}, "task": {"index": 0}}',
            "TF_CONFIG does not say who the workers are",
        ),
        (
            tf_config([1, 2], 2),
            "task.index is 2; expected a number from 0 to 1",
        ),
        (
            tf_config([1, 2], 0, "ps"),
            "task.type is 'ps'; expected worker or chief",
        ),
    ],
)
def test_a_cluster_that_cannot_be(monkeypatch, given, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if given is not None:
        monkeypatch.setenv("TF_CONFIG", given)
    with pytest.raises(ValueError, match=message):
        cluster.read_cluster()


def test_workers_meet_whoever_comes_first(monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT_SECONDS", 10)
    addresses, met = tuple(f"localhost:{port}" for port in free_ports(3)), []

    def come(index):
        cluster.wait_for_workers(cluster.Cluster(addresses, index))
        met.append(index)
        # Here TensorFlow would listen at the same port.
        with socket.create_server(
            ("", int(addresses[index].rpartition(":")[2]))
        ):
            all_there.wait()

    all_there = threading.Barrier(3, timeout=10)
    threads = [
        threading.Timer(0.3 * index, come, [index]) for index in range(3)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(met) == [0, 1, 2]


def test_a_port_in_use():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ValueError, match=f"cannot listen at localhost:{port} .*in use"
        ):
            cluster.wait_for_workers(
                cluster.Cluster((f"localhost:{port}", "localhost:1"), 0)
            )


def test_one_worker_that_is_told_to_stop_stops_all(words, tmp_path):
    ports, endless = (
        free_ports(2),
        ["--set", "training.epochs=100000", "--set", "log.console=1"],
    )
    chief, other = (
        start(ports, 0, [*words, *endless]),
        start(ports, 1, [*words, *endless]),
    )
    next(line for line in chief.stdout if line.startswith("step"))
    other.send_signal(signal.SIGTERM)
    said = chief.communicate(timeout=60)[1]
    assert (chief.returncode, other.wait(60)) == (143, 143), said
    step = int(
        said.partition("interrupted by SIGTERM at step ")[2].partition(" ")[0]
    )
    assert (
        json.loads((tmp_path / "run" / "results.json").read_text())["steps"]
        == step
    )
    assert list((tmp_path / "run" / "checkpoints").glob(f"step-{step}*"))
