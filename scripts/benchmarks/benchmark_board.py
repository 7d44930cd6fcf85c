"""What a run takes on the disk, and how long until TensorBoard shows its gradients."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark_table import markdown, shown

POINTS, LAYERS, WIDTH = 1000, 60, 16
STOCK_POINTS = (
    10  # written by tf.summary too, which takes a third of a second for each
)
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
SAYS = {
    "scalars": ("point", "stock_point"),
    "histograms too": ("measured", "stock_measured"),
}
FRAME = 16  # bytes around an event: its length, and two checksums
MODES = {"data server": "true", "python": "false"}


def board(asked: argparse.Namespace) -> dict[str, Any]:
    """Print and return the bytes of a run of many points and layers, and the seconds to its first picture."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as place:
        folder = Path(place)
        train(folder / "log" / "run")
        found = {
            "bytes": disk(folder),
            "seconds": {
                mode: waits(folder / "log", mode, asked) for mode in MODES
            },
        }
    sizes = found["bytes"]
    print(
        f"{POINTS} points of {LAYERS} layers, {sizes['measured_points']} of them with histograms:"
    )
    rows = [
        [says, *(shown(sizes[name] / 1000) for name in names)]
        for says, names in SAYS.items()
    ]
    print(
        markdown(["kB of a point", "tftrain", "tf.summary"], rows)
        + f"\n\nthe whole run: {sizes['run'] / 1e6:.1f} MB"
    )
    rows = [
        [
            mode,
            *(
                f"{statistics.median(of):.2f}"
                for of in found["seconds"][mode].values()
            ),
        ]
        for mode in MODES
    ]
    print(
        "\n"
        + markdown(
            ["seconds", "until the run is loaded", "from the page to the map"],
            rows,
        )
    )
    return found


def train(folder: Path) -> None:
    import tftrain

    config = {
        "model": {"name": "mlp", "hidden": [WIDTH] * (LAYERS - 1)},
        "data": {
            "name": "digits",
            "flat": True,
            "batch_size": 32,
            "preprocess": {"name": "scale", "by": 0.0625},
        },
        "optimizer": {"name": "sgd", "learning_rate": 1e-3},
        "gradients": {"clip": {"name": "global_norm", "limit": 1.0}},
        "training": {"steps": POINTS},
        "log": {"scalars": 1},
    }
    path = folder.parent.parent / "board.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        tftrain.train(tftrain.load(path), folder)


def disk(folder: Path) -> dict[str, float]:
    """Bytes of the run, and of a point without and with histograms; beside it what tf.summary makes of the same."""
    from tensorboard.backend.event_processing.event_file_loader import (
        RawEventFileLoader,
    )
    from tensorboard.compat.proto.event_pb2 import Event

    events = max(
        (folder / "log" / "run").glob("events.out.tfevents.*"),
        key=lambda path: path.stat().st_size,
    )
    points: dict[int, tuple[dict[str, Any], int]] = {}
    for raw in RawEventFileLoader(str(events)).Load():
        event = Event.FromString(raw)
        values = {value.tag: value for value in event.summary.value}
        if "Overview/loss" in values:
            points[event.step] = values, len(raw) + FRAME
    measured = {
        step
        for step, (values, _) in points.items()
        if any("hist" in tag for tag in values)
    }
    kinds = {
        "point": points.keys() - measured - {min(points)},
        "measured": measured - {min(points)},
    }
    sizes: dict[str, float] = {
        "run": events.stat().st_size,
        "measured_points": len(measured),
    }
    for name, steps in kinds.items():
        some = sorted(steps)[:STOCK_POINTS]
        sizes[name] = statistics.mean(points[step][1] for step in some)
        sizes[f"stock_{name}"] = stock(
            folder / name, {step: points[step][0] for step in some}
        ) / len(some)
    return sizes


def stock(folder: Path, points: Mapping[int, Mapping[str, Any]]) -> int:
    """The bytes of the same scalars by tf.summary.scalar, and of as many histograms by tf.summary.histogram."""
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0)
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step, values in points.items():
            for tag, value in values.items():
                if "hist" in tag:
                    tf.summary.histogram(
                        tag, draw.standard_normal((WIDTH, WIDTH)), step
                    )
                elif (
                    value.WhichOneof("value") == "simple_value"
                ):  # beside them stand the tables of the Gradients tab
                    tf.summary.scalar(tag, value.simple_value, step)
    writer.close()
    return sum(path.stat().st_size for path in folder.glob("events.*"))


def waits(
    log: Path, mode: str, asked: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds from the start of TensorBoard until it knows the run, and from the page's address to the map."""
    from playwright.sync_api import sync_playwright
    from tensorboard import default, program

    from tftrain.reporting.tensorboard_plugin.plugin import Loader

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(
            f"scripts/benchmark board: there is no browser; expected one of {', '.join(BROWSERS)}"
        )
    server = program.TensorBoard(
        [*(one for one in default.get_plugins() if one is not Loader), Loader]
    )
    server.configure(logdir=str(log), load_fast=MODES[mode], port=0)
    pictures = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--no-first-run"]
        )
        began = time.monotonic()
        with contextlib.redirect_stderr(io.StringIO()):
            address = server.launch()
        inside = f"{address}data/plugin/tftrain_gradients/map?run=run&quantity=grad_norm&rows=layers"
        asking = browser.new_page().request
        while (reply := asking.get(inside)).status != 200 or len(
            reply.json()["steps"]
        ) < POINTS:
            time.sleep(0.2)
        loaded = time.monotonic() - began
        for _ in range(asked.repeats):
            page = browser.new_page(viewport={"width": 1500, "height": 1000})
            began = time.monotonic()
            page.goto(f"{address}#tftrain_gradients")
            page.frame_locator("iframe").locator(
                "body[data-drawn='1']"
            ).wait_for(timeout=60_000)
            pictures.append(time.monotonic() - began)
            page.close()
        browser.close()
    return {"loaded": [loaded], "picture": pictures}
