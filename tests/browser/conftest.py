"""Real runs, TensorBoard in each of its two server modes, and a browser that looks at it."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import time
import urllib.request
import warnings
from types import SimpleNamespace

import matplotlib.image
import pytest
from tensorboard import default, program

import tftrain
from tftrain.reporting.tensorboard_plugin.plugin import Loader
from tftrain.runtime.errors import TrainingError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
FLAGS += [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # charts are drawn by WebGL
DATA = "data: {name: digits, flat: true, batch_size: 64, validation: 0.2, preprocess: {name: scale, by: 0.0625}}\n"
CLIPPED = f"""{DATA}
model: {{name: mlp, hidden: [16, 16]}}
optimizer: {{name: sgd, learning_rate: 0.1}}
gradients: {{clip: {{name: global_norm, limit: 0.5}}}}
training: {{steps: 60, validate_every: 30}}
log: {{scalars: 1, histograms_every: 10, plots: [{{name: weights, only: kernel, every: 30}}]}}
"""
EXPLODING = f"""{DATA}
model:
  name: mlp
  hidden: [64, 64, 64, 64, 64, 64, 64, 64]
  kernel_initializer: {{name: variance_scaling, scale: 30.0}}
optimizer: {{name: sgd, learning_rate: 0.05}}
training: {{steps: 30}}
log: {{scalars: 1, histograms_every: 1}}
"""


@pytest.fixture(scope="package")
def browser():
    """Chromium without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        told = "TENSORBOARD IS NOT TESTED IN A BROWSER: this takes Chromium and the package playwright"
        warnings.warn(told, stacklevel=1)
        pytest.skip(told)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def logdir(browser, tmp_path_factory):
    """Two runs: one whose gradients are clipped, and one that ends in a loss that is not finite."""
    folder = tmp_path_factory.mktemp("runs")
    for name, text in {"clipped": CLIPPED, "exploding": EXPLODING}.items():
        config = folder / f"{name}.yaml"
        config.write_text(text)
        with (
            contextlib.suppress(TrainingError),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            tftrain.train(tftrain.load(config, ()), folder / "log" / name)
    return folder / "log"


@pytest.fixture(scope="package")
def address(logdir):
    """Where TensorBoard answers, by server mode; that with its data server stands behind a path prefix."""
    found = {}
    plugins = default.get_plugins()
    plugins += [] if Loader in plugins else [Loader]
    for mode, load_fast, prefix in (
        ("data server", "true", "/behind"),
        ("python", "false", ""),
    ):
        board = program.TensorBoard(plugins)
        board.configure(
            logdir=str(logdir),
            load_fast=load_fast,
            port=0,
            path_prefix=prefix,
            reload_interval=1,
        )
        found[mode] = board.launch().rstrip("/") + "/"
    for base in found.values():
        wait_for(base, ["clipped", "clipped/val", "exploding"])
    return found


def wait_for(base, runs, seconds=30):
    deadline = time.monotonic() + seconds
    while (
        sorted(json.load(urllib.request.urlopen(f"{base}data/runs"))) != runs
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)


@pytest.fixture(scope="package")
def opened(browser, address):
    """Returns a function that opens a page in a server mode: `page`, and the `errors` on its console."""

    def opened(mode, fragment="", **how):
        page = browser.new_page(viewport={"width": 1500, "height": 1000}, **how)
        page.set_default_timeout(20_000)
        errors = []
        page.on(
            "console",
            lambda said: (
                errors.append(f"{said.text} {said.location['url']}")
                if ours(said)
                else None
            ),
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address[mode]}{fragment}")
        return SimpleNamespace(page=page, errors=errors)

    return opened


def ours(said):
    # TensorBoard asks for its fonts without the path prefix.
    return said.type == "error" and "/font-roboto/" not in said.location["url"]


@pytest.fixture(scope="package")
def coloured():
    """Returns a function that gives the share of an element's pixels that are neither grey, black nor white."""

    def coloured(locator):
        seen = pixels(locator)
        return float((seen.max(-1) - seen.min(-1) > 0.2).mean())

    return coloured


@pytest.fixture(scope="package")
def inked():
    """Returns a function that gives the share of an element's pixels that are not white."""
    return lambda locator: float((pixels(locator).min(-1) < 0.96).mean())


def pixels(locator):
    """What is seen of an element: (height, width, 3), between 0 and 1."""
    return matplotlib.image.imread(io.BytesIO(locator.screenshot()))[..., :3]


@pytest.fixture(scope="package")
def soon():
    """Returns a function that waits until a condition holds, and says whether it did."""

    def soon(holds, seconds=45):
        deadline = time.monotonic() + seconds
        while not (held := holds()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return held

    return soon
