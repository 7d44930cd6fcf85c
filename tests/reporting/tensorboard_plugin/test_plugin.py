"""The Gradients tab as TensorBoard serves it, in each of its two server modes; without a browser."""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import math
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from tensorboard import program
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR
from tensorboard.plugins.core import core_plugin

from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.event_file import EventFile, float_tensors
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.reporting.tensorboard.protocol import PLUGIN
from tftrain.reporting.tensorboard.summaries import (
    strings_tensor,
    text_note,
    value_metadata,
)
from tftrain.reporting.tensorboard_plugin.http import FOLDER
from tftrain.reporting.tensorboard_plugin.plugin import POINTS, Loader

KERNEL, BIAS = "000.dense/kernel", "000.dense/bias"
ROWS = np.array([[-3.0, -2.0, 4.0], [-2.0, -1.0, 12.0]])
LAST = 300  # points; more than TensorBoard keeps by itself


def write_run(folder):
    """A run of 300 points: the kernel's norm is the step, and clipped to 100; every 100th point is measured."""
    board = TensorBoardLogger(folder, sizes={KERNEL: 12, BIAS: 3})
    for step in range(1, LAST + 1):
        scalars = {
            "loss": 1 / step,
            "clip_rate": float(step > 100),
            "nonfinite_steps": float(step == 8),
            f"grad_norm/{KERNEL}": float(step),
        }
        scalars |= {
            f"grad_norm/{BIAS}": 0.0,
            f"clipped_grad_norm/{KERNEL}": min(step, 100.0),
        }
        scalars |= {
            f"clipped_grad_norm/{BIAS}": {7: math.nan, 8: math.inf}.get(
                step, 0.0
            )
        }
        histograms = {}
        if step % 100 == 0:
            scalars |= {
                f"weight_norm/{KERNEL}": 2.0,
                f"weight_norm/{BIAS}": 0.0,
                f"update_ratio/{KERNEL}": 0.25,
            }
            scalars |= {
                f"zero_grads/{KERNEL}": 0.0,
                f"zero_grads/{BIAS}": 1.0,
                "dead_units/000.relu": 0.5,
            }
            scalars |= {"Overview/depth_ratio_decades": -2.0}
            histograms = {f"gradients/{KERNEL}": ROWS + [0, 0, step]}
        board(step, LogData(scalars, histograms))
    board(LAST, LogData({"val_loss": 0.5}))
    board(
        LAST,
        LogData(
            texts={
                f"incidents/{LAST:08d}": "```\nthe loss was not finite\n```\n"
            }
        ),
    )
    board.close()


def write_map(folder, content, tensor):
    """A run of one event: a tensor of norms with this content of its metadata."""
    file = EventFile(folder, 0)
    file.write(
        1,
        file.tensor(
            "gradients/norms",
            tensor,
            value_metadata(PLUGIN, DATA_CLASS_TENSOR, content),
        ),
    )
    file.close()


def write_damaged_runs(logdir):
    """Runs that others have written, or a disk has damaged, by what is wrong with them."""
    norms = float_tensors([np.ones((1, 2))])[0]
    layout = {"version": 1, "parameters": ["a/kernel"], "sizes": [4]}
    contents = {
        "no_json": b"{",
        "no_text": b"\xff\xfe",
        "nested": b"[" * 100_000,
        "a_list": b"[]",
        "nothing": b"",
        "later": json.dumps(layout | {"version": 2}).encode(),
        "names_twice": json.dumps(
            layout | {"parameters": ["a", "a"], "sizes": [1, 1]}
        ).encode(),
        "no_names": json.dumps(
            layout | {"parameters": [], "sizes": []}
        ).encode(),
        "sizes_lack": json.dumps(layout | {"sizes": []}).encode(),
        "sizes_odd": json.dumps(layout | {"sizes": ["4"]}).encode(),
    }
    for name, content in contents.items():
        write_map(logdir / name, content, norms)
    good = json.dumps(layout).encode()
    write_map(logdir / "other_shape", good, float_tensors([np.ones((3, 2))])[0])
    write_map(logdir / "words", good, strings_tensor([b"x", b"y"]))
    file = EventFile(logdir / "keras", 0)
    file.write(1, file.tensor(*text_note("config", "a run of another program")))
    file.close()
    (logdir / "garbage").mkdir()
    (logdir / "garbage" / "events.out.tfevents.1.x").write_bytes(
        bytes(range(256)) * 8
    )
    return [*contents, "keras"]


@pytest.fixture(
    scope="module", params=["true", "false"], ids=["data server", "python"]
)
def ask(request, tmp_path_factory):
    """Asks a TensorBoard that shows one run, called `one`, beside damaged ones, under a path prefix."""
    logdir = tmp_path_factory.mktemp("log")
    (logdir / "one").mkdir()
    write_run(logdir / "one")
    damaged = write_damaged_runs(logdir)
    board = program.TensorBoard([core_plugin.CorePluginLoader(), Loader])
    board.configure(
        logdir=str(logdir),
        load_fast=request.param,
        port=0,
        path_prefix="/behind",
        reload_interval=1,
    )
    base = f"{board.launch().rstrip('/')}/data/"

    def ask(path, **query):
        return fetch(f"{base}plugin/{PLUGIN}/{path}", query)

    ask.damaged = damaged
    ask.listing = lambda: fetch(f"{base}plugins_listing", {})
    ask.entry = lambda: (
        urllib.request.urlopen(f"{base}plugin_entry.html?name={PLUGIN}")
        .read()
        .decode()
    )
    ask.file = lambda name: urllib.request.urlopen(
        f"{base}plugin/{PLUGIN}/static/{name}"
    )
    deadline = time.monotonic() + 20
    while not is_loaded(ask) and time.monotonic() < deadline:
        time.sleep(0.1)
    return ask


def is_loaded(ask):
    return {"one", "other_shape", "words", *ask.damaged} <= set(
        ask("runs")
    ) and "incidents" in str(ask("course", run="one"))


def fetch(url, query):
    try:
        return json.load(
            urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}")
        )
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


def test_the_runs_with_their_parameters(ask):
    found = ask("runs")["one"]
    assert (found["parameters"], found["sizes"]) == ([KERNEL, BIAS], [12, 3])
    assert abs(found["started"] - time.time()) < 100
    assert ask.listing()[PLUGIN]["enabled"]


def test_the_map_has_every_point(ask):
    found = ask("map", run="one", quantity="grad_norm", rows="parameters")
    assert found["names"] == [KERNEL, BIAS]
    assert (found["steps"], found["values"]) == (
        [*range(1, LAST + 1)],
        [[*range(1, LAST + 1)], [0] * LAST],
    )
    clipped = ask(
        "map", run="one", quantity="clipped_grad_norm", rows="parameters"
    )["values"]
    assert clipped[0][-1] == 100
    assert clipped[1][5:9] == [0, "NaN", "Infinity", 0]


def test_a_layer_is_all_its_parameters_together(ask):
    found = ask("map", run="one", quantity="clipped_grad_norm", rows="layers")
    assert found["names"] == ["000.dense"]
    assert found["values"][0][5:9] == [6, "NaN", "Infinity", 9]
    factors = ask("map", run="one", quantity="clip_factor", rows="layers")[
        "values"
    ][0]
    assert (factors[0], factors[99], factors[199]) == (1, 1, 0.5)
    zeros = ask("map", run="one", quantity="zero_grads", rows="layers")[
        "values"
    ][0]
    assert zeros == [0.2] * 3  # 3 of 15 numbers


def test_what_is_not_there_is_told_from_what_is_not_finite(ask):
    expected = {
        "update_ratio": [0.25, None],
        "weight_norm": [2, 0],
        "zero_grads": [0, 1],
        "dead_units": [0.5, 0.5],
    }
    expected["saturated"] = [None, None]
    for quantity, values in expected.items():
        found = ask("map", run="one", quantity=quantity, rows="parameters")
        assert (found["steps"], found["values"]) == (
            [100, 200, 300],
            [[value] * 3 for value in values],
        ), quantity


def test_the_history_of_a_row(ask):
    found = ask("history", run="one", row=KERNEL, rows="parameters")
    assert found["grad_norm"] == {
        "steps": [*range(1, LAST + 1)],
        "values": [*range(1, LAST + 1)],
    }
    assert found["weight_norm"] == {
        "steps": [100, 200, 300],
        "values": [2, 2, 2],
    }
    assert (
        ask("history", run="one", row="000.dense", rows="layers")["dead_units"][
            "values"
        ]
        == [0.5] * 3
    )


def test_the_histogram_nearest_to_a_step(ask):
    found = ask("histogram", run="one", parameter=KERNEL, step=160)
    assert found == {
        "axis": "log10",
        "step": 200,
        "rows": [[-3, -2, 204], [-2, -1, 212]],
    }
    assert ask("histogram", run="one", parameter=BIAS, step=160)["rows"] == []


def test_the_curves_above_the_map(ask):
    found = ask("course", run="one")
    assert found["loss"]["steps"] == [*range(1, LAST + 1)]
    assert found["val_loss"] == {"steps": [LAST], "values": [0.5]}
    assert sum(found["clip_rate"]["values"]) == LAST - 100
    assert found["nonfinite_steps"]["values"].index(1) == 7
    assert found["incidents"] == [
        {"step": LAST, "text": "the loss was not finite\n"}
    ]
    assert found["depth_ratio"] == {
        "steps": [100, 200, 300],
        "values": [-2, -2, -2],
    }


def test_each_quantity_at_its_last_point(ask):
    latest = ask("course", run="one")["latest"]
    assert {one["step"] for one in latest.values()} == {LAST}
    values = {name: one["values"] for name, one in latest.items()}
    measured = {
        "update_ratio": [0.25],
        "weight_norm": [2],
        "zero_grads": [0.2],
        "dead_units": [0.5],
        "saturated": [None],
    }
    assert values == measured | {
        "grad_norm": [300],
        "clipped_grad_norm": [100],
        "clip_factor": [0.33333],
    }


def test_a_run_that_cannot_be_read_is_named_and_leaves_the_others(ask):
    found = ask("runs")
    faults = {
        name: run["fault"] for name, run in found.items() if "fault" in run
    }
    assert set(faults) - {"garbage"} == set(ask.damaged)
    assert (
        "another version" in faults["later"]
        and "no gradients" in faults["keras"]
    )
    assert all(
        "cannot be read" in faults[name]
        for name in ask.damaged
        if name not in ("later", "keras")
    )
    for name in ask.damaged:
        status, _ = ask("map", run=name, quantity="grad_norm", rows="layers")
        assert status in (404, 422), name
    for name in ("other_shape", "words"):
        status, error = ask(
            "map", run=name, quantity="grad_norm", rows="layers"
        )
        assert status == 422 and error.startswith(
            "gradients/norms at step 1: given an array of shape ["
        )
        assert "expected numbers of shape [1, ...]" in error
        assert ask("course", run=name) == (status, error), (
            "so that it is told whatever quantity is shown"
        )
    assert "one/val" not in found and found["one"]["parameters"] == [
        KERNEL,
        BIAS,
    ]


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        (
            "map",
            {"run": "two", "quantity": "grad_norm", "rows": "layers"},
            "no run 'two' with gradients in this log",
        ),
        (
            "map",
            {"run": "one", "quantity": "norm", "rows": "layers"},
            "no quantity 'norm'; expected one of update_ratio",
        ),
        (
            "map",
            {"run": "one", "quantity": "grad_norm", "rows": "x"},
            "no rows 'x'; expected layers or parameters",
        ),
        (
            "history",
            {"run": "one", "row": "x", "rows": "layers"},
            "no layer 'x' in run 'one'",
        ),
        (
            "histogram",
            {"run": "one", "parameter": "x", "step": "1"},
            "no parameter 'x' in run 'one'",
        ),
        (
            "histogram",
            {"run": "one", "parameter": KERNEL, "step": "x"},
            "no step 'x'",
        ),
        ("map", {"run": "one"}, "given run; expected run, quantity, rows"),
        ("course", {}, "given nothing; expected run"),
    ],
)
def test_what_is_asked_wrongly_is_told(ask, path, query, words):
    status, error = ask(path, **query)
    assert status == 404
    assert error.startswith(words)


def test_the_page_comes_with_its_files(ask):
    assert f'<base href="plugin/{PLUGIN}/"' in ask.entry()
    assert '"./static/main.js"' in ask.entry()
    for path in FOLDER.iterdir():
        reply = ask.file(path.name)
        assert reply.headers["Content-Type"].startswith(
            {".js": "text/javascript", ".css": "text/css"}[path.suffix]
        )
        assert reply.read() == path.read_bytes()
    for name in ("nothing.js", "..%2Fplugin.py", "%2Fetc%2Fpasswd"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask.file(name)


def test_long_replies_are_packed_where_that_is_understood(ask):
    address = urllib.parse.urlparse(ask.file("main.js").url)
    connection = http.client.HTTPConnection(address.netloc)
    connection.request("GET", address.path, headers={"Accept-Encoding": "gzip"})
    reply = connection.getresponse()
    assert reply.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(reply.read()) == (FOLDER / "main.js").read_bytes()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {PLUGIN: POINTS}),
        ({"images": 3}, {PLUGIN: POINTS, "images": 3}),
        ({PLUGIN: 7}, {PLUGIN: 7}),
    ],
)
def test_all_points_are_kept_unless_the_user_says_how_many(given, expected):
    flags = argparse.Namespace(samples_per_plugin=given)
    Loader().fix_flags(flags)
    assert flags.samples_per_plugin == expected


def test_the_plugin_needs_nothing_that_tensorboard_does_not():
    """What fails while TensorBoard imports it would end every TensorBoard of the environment."""
    plugin = "tftrain.reporting.tensorboard_plugin.plugin"
    code = f"import sys, {plugin}; print(*{{name.split('.')[0] for name in sys.modules}})"
    found = set(
        subprocess.check_output([sys.executable, "-c", code], text=True).split()
    )
    assert (
        not {
            "tensorflow",
            "keras",
            "yaml",
            "sklearn",
            "matplotlib",
            "rich",
            "pandas",
        }
        & found
    )
    ours = f"import sys, {plugin}; print(*(name for name in sys.modules if name.startswith('tftrain')))"
    modules = subprocess.check_output(
        [sys.executable, "-c", ours], text=True
    ).split()
    assert {
        name
        for name in modules
        if not name.startswith("tftrain.reporting.tensorboard_plugin")
    } == {
        "tftrain",
        "tftrain.reporting",
        "tftrain.reporting.tensorboard",
        "tftrain.reporting.tensorboard.protocol",
        "tftrain.runtime",
        "tftrain.runtime.version",
    }
