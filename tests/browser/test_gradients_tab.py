"""The Gradients tab in a browser: it draws, and answers the pointer and the keyboard."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request

import numpy as np
import pytest
from tensorboard import default, program
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR

from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.event_file import EventFile, float_tensors
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.reporting.tensorboard.summaries import value_metadata
from tftrain.reporting.tensorboard_plugin.plugin import Loader

MODES = ("data server", "python")
TAB = "#tftrain_gradients"


class Tab:
    """The page within the page that the plugin is."""

    def __init__(self, one):
        self.errors = one.errors
        self.page = one.page
        self.frame = one.page.frame_locator("iframe")
        self.at("body[data-drawn='2']").wait_for()

    def at(self, selector, **how):
        return self.frame.locator(selector, **how)

    def map(self, run):
        return self.at(f".run[data-run={run}] .map-canvas")

    def colours(self, selector):
        """How many colours a canvas shows."""
        read = """canvas => {
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return new Set(new Uint32Array(pixels.buffer)).size;
        }"""
        return self.at(selector).first.evaluate(read)


@pytest.fixture(scope="module", params=MODES)
def tab(request, opened):
    tab = Tab(opened(request.param, TAB))
    yield tab
    tab.page.close()


@pytest.fixture(scope="module")
def one_tab(opened):
    tab = Tab(opened("data server", TAB))
    yield tab
    tab.page.close()


def middle(canvas):
    box = canvas.bounding_box()
    return {"x": box["width"] / 2, "y": box["height"] / 3}


def test_each_run_is_drawn(tab):
    for run in ("clipped", "exploding"):
        assert tab.colours(f".run[data-run={run}] .map-canvas") > 20
        assert tab.colours(f".run[data-run={run}] .strip-canvas") > 5
    assert (
        not tab.at("#failure").is_visible()
        and not tab.at("#empty").is_visible()
    )
    assert "clipped" in tab.at(".run[data-run=clipped]").inner_text()
    assert not tab.errors


def test_hover_and_click_answer(tab):
    canvas = tab.map("clipped")
    canvas.hover(position=middle(canvas))
    tab.at("#tooltip").wait_for()
    row, step = re.search(
        r"(\d{3}\.\S+)\nstep (\d+)", tab.at("#tooltip").inner_text()
    ).groups()
    canvas.click(position=middle(canvas))
    tab.at("#detail-title").filter(has_text=row).wait_for()
    tab.at("#detail .where").filter(
        has_text=f"clipped · step {step}"
    ).wait_for()
    assert tab.colours("#history") > 5 and tab.colours("#histogram") > 2
    assert "before clipping" in tab.at("#detail").inner_text()
    assert not tab.errors


def test_a_cell_is_told_of_beside_the_map_on_a_small_screen(tab):
    tab.page.set_viewport_size({"width": 1440, "height": 900})
    canvas = tab.map("clipped")
    canvas.click(position=middle(canvas))
    tab.at("#detail .where").filter(has_text="clipped").wait_for()
    scrolled, height = tab.at("body").evaluate(
        "() => [document.scrollingElement.scrollTop, innerHeight]"
    )
    top = tab.page.locator("iframe").bounding_box()["y"]
    for part in (
        canvas,
        tab.at("#histogram"),
        tab.at("#history"),
        tab.at("#facts"),
    ):
        box = part.bounding_box()
        assert box["y"] >= top and box["y"] + box["height"] <= top + height, (
            "it has to be scrolled to"
        )
    assert scrolled == 0
    assert canvas.bounding_box()["x"] < tab.at("#histogram").bounding_box()["x"]
    tab.page.set_viewport_size({"width": 1500, "height": 1000})


def test_an_incident_is_marked_and_told(one_tab):
    mark = one_tab.at(".run[data-run=exploding] button.incident")
    assert (
        mark.count() >= 1
        and one_tab.at(".run[data-run=clipped] button.incident").count() == 0
    )
    mark.first.click()
    one_tab.at("#detail-title").filter(has_text="Incident").wait_for()
    assert "not finite" in one_tab.at("#incident-text").inner_text()
    assert not one_tab.errors


def test_the_keyboard_reaches_every_cell(one_tab):
    canvas = one_tab.map("clipped")
    one_tab.at("#detail .close").evaluate("button => button.click()")
    canvas.focus()
    canvas.press("ArrowDown")
    canvas.press("End")
    assert re.match(
        r"001\.\S+, step 60: [\d.]+, usual", one_tab.at("#status").inner_text()
    )
    canvas.press("Enter")
    one_tab.at("#detail .where").filter(has_text="clipped · step 60").wait_for()
    canvas.press("Escape")
    one_tab.at("#detail").wait_for(state="hidden")
    assert not one_tab.errors


def test_quantity_rows_and_runs_can_be_chosen(one_tab, soon):
    one_tab.at("input[name=rows][value=parameters]").check(force=True)
    canvas = one_tab.map("clipped")
    canvas.focus()

    def is_on_a_parameter():
        canvas.press("ArrowDown")
        return re.search(
            "/(kernel|bias), step", one_tab.at("#status").inner_text()
        )

    assert soon(is_on_a_parameter)
    one_tab.at("input[name=quantity][value=grad_norm]").check(force=True)
    assert soon(
        lambda: "L2 norm of its gradient" in one_tab.at("#meaning").inner_text()
    )
    one_tab.at("#runs input[value=exploding]").uncheck(force=True)
    one_tab.at("body[data-drawn='1']").wait_for()
    assert one_tab.at("#runs").inner_text().startswith("Runs: 1 of 2 shown")
    assert (
        one_tab.at(".run").count() == 1 and one_tab.colours(".map-canvas") > 20
    )
    one_tab.at("#runs button", has_text="Show all").click()
    one_tab.at("body[data-drawn='2']").wait_for()
    one_tab.at("input[name=rows][value=layers]").check(force=True)
    assert not one_tab.errors


def test_each_quantity_says_what_it_means_and_what_is_usual(one_tab, soon):
    values = one_tab.at("input[name=quantity]").evaluate_all(
        "inputs => inputs.map(input => input.value)"
    )
    assert {
        "update_ratio",
        "grad_norm",
        "clip_factor",
        "dead_units",
        "saturated",
    } <= set(values)
    meanings = set()
    for value in values:
        one_tab.at(f"input[name=quantity][value={value}]").check(force=True)
        meanings.add(one_tab.at("#meaning").inner_text())
        assert re.search(
            "usual|right by itself|not clipped|too many|dying",
            one_tab.at("#meaning").inner_text(),
        ), value
    assert len(meanings) == len(values)
    one_tab.at("input[name=quantity][value=update_ratio]").check(force=True)
    said = (
        "Update ratio: colours from 10⁻⁸ to 10¹; usual, pale, is 10⁻⁴ to 10⁻¹"
    )
    assert soon(
        lambda: (
            one_tab.at(".legend-canvas")
            .get_attribute("aria-label")
            .startswith(said)
        )
    )


def test_what_is_not_usual_is_told_and_leads_to_its_quantity(one_tab, soon):
    assert one_tab.at(".run[data-run=exploding] .finding").count() >= 1
    one_tab.at(
        ".run[data-run=exploding] .finding", has_text="Update ratio"
    ).click()
    assert (
        one_tab.at("input[name=quantity]:checked").get_attribute("value")
        == "update_ratio"
    )
    assert not one_tab.errors


def test_a_layer_without_relus_is_not_measured_and_stays_in_its_place(
    one_tab, soon
):
    one_tab.at("input[name=quantity][value=dead_units]").check(force=True)
    one_tab.at("#legend").filter(has_text="no ReLU").wait_for()
    canvas = one_tab.map("clipped")
    canvas.focus()
    for _ in range(9):
        canvas.press("ArrowDown")
    assert soon(
        lambda: re.match(
            r"002\.output, step \d+: no ReLU",
            one_tab.at("#status").inner_text(),
        )
    )
    one_tab.at("input[name=quantity][value=update_ratio]").check(force=True)
    assert not one_tab.errors


def test_the_focus_goes_to_what_is_opened_and_back(one_tab, soon):
    canvas = one_tab.map("clipped")
    canvas.focus()
    canvas.press("Enter")
    focused = (
        "() => document.activeElement.id || document.activeElement.className"
    )
    assert soon(lambda: one_tab.at("body").evaluate(focused) == "detail-title")
    one_tab.at("#detail-title").press("Escape")
    assert soon(lambda: one_tab.at("body").evaluate(focused) == "map-canvas")


@pytest.fixture(scope="module")
def call(one_tab):
    """Returns a function that calls one of a module of the page with arguments."""

    def call(module, name, *arguments):
        loaded = "([url, name, given]) => import(url).then(module => module[name](...given))"
        url = one_tab.at("body").evaluate(
            "() => performance.getEntriesByType('resource').map(one => one.name)"
        )
        [url] = [
            one
            for one in dict.fromkeys(url)
            if one.endswith(f"/static/{module}.js")
        ]
        return one_tab.at("body").evaluate(
            "(_, given) => (" + loaded + ")(given)", [url, name, arguments]
        )

    return call


def test_a_colour_is_one_number_whatever_else_is_shown(one_tab):
    """And what is zero, not finite or not measured looks like no number."""
    script = """async (_, url) => {
      const { colour, standing } = await import(url);
      const { QUANTITIES } = await import(url.replace("scale.js", "quantities.js"));
      const { scale } = QUANTITIES.update_ratio;
      const values = [1e-12, 1e-8, 1e-6, 2e-5, 1e-3, 0.05, 0.3, 1e3];
      const read = value => colour(scale, value);
      return [values.map(read), [0, NaN, Infinity, -1].map(read), values.map(value => standing(scale, value))];
    }"""
    urls = one_tab.at("body").evaluate(
        "() => performance.getEntriesByType('resource').map(one => one.name)"
    )
    [url] = {url for url in urls if url.endswith("/static/scale.js")}
    colours, others, standings = one_tab.at("body").evaluate(script, url)
    assert colours[0] == colours[1] and len(set(colours)) == 7
    assert others == [0xFF000000, 0xFFFF00FF, 0xFFFF00FF, 0] and not set(
        colours
    ) & set(others)
    assert standings == ["below"] * 4 + ["usual"] * 2 + ["above"] * 2


def test_what_is_not_usual_is_counted_by_layer(call):
    def found(rates=(0.1, 0.1), decades=-1.0, **values):
        latest = {
            name: {"step": 7, "values": row} for name, row in values.items()
        }
        curves = {
            "depth_ratio": {"steps": [7], "values": [decades]},
            "learning_rate": {"steps": [1, 7], "values": rates},
        }
        return [
            (one["quantity"], one["text"])
            for one in call(
                "findings", "findings", {"latest": latest, **curves}
            )
        ]

    assert (
        found(
            update_ratio=[1e-3, 1e-2],
            dead_units=[0.2, -1],
            saturated=[0.5, 0.1],
        )
        == []
    )
    assert found(update_ratio=[1e-9, 0, 1e-3, 7, -1]) == [
        ("update_ratio", "▼ Update ratio: 2 of 4 layers"),
        ("update_ratio", "▲ Update ratio: 1 of 4 layers"),
    ]
    ending = "▼ Update ratio: 1 of 1 layer, as the learning rate is 0.001 of its largest"
    assert found(update_ratio=[1e-9], rates=(0.1, 1e-4)) == [
        ("update_ratio", ending)
    ]
    assert found(saturated=[0.9, 0.9]) == [
        ("saturated", "▲ Saturated: 1 of 1 layer")
    ], "the output may be sure"
    assert found(dead_units=[0.9, -1]) == [
        ("dead_units", "▲ Dead units: 1 of 1 layer")
    ]
    assert found(decades=-7.2) == [
        ("grad_norm", "▼ Gradient: first layer 10⁻⁷ of the last")
    ]


def test_numbers_beside_an_axis_are_told_apart(call):
    assert [
        one["text"] for one in call("scale", "named", [2.3015, 2.302, 2.3025])
    ] == [
        "2.3015",
        "2.302",
        "2.3025",
    ]
    assert [
        one["text"] for one in call("scale", "named", [0, 0.5, 1, 150_000])
    ] == [
        "0",
        "0.5",
        "1",
        "1.5e5",
    ]


def test_the_axis_of_steps_spans_the_loss_also_where_little_is_measured(call):
    axis = call("axis", "stepAxis", [100, 200], 50, 450, [[1, 2, 3, 200], []])
    assert (axis["low"], axis["high"]) == (0.5, 200.5)
    assert call("axis", "stepAxis", [7], 0, 1)["low"] == 6.5


def test_the_share_of_clipped_steps_goes_by_steps_and_not_by_points(call):
    assert (
        call(
            "strip", "stepShare", {"steps": [10, 20, 100], "values": [1, 1, 0]}
        )
        == 0.2
    )
    assert call("strip", "stepShare", {"steps": [], "values": []}) == 0


def write_map(folder, content, tensor):
    """A run of one event: a tensor of norms with this content of its metadata."""
    file = EventFile(folder, 0)
    file.write(
        1,
        file.tensor(
            "gradients/norms",
            tensor,
            value_metadata(TAB[1:], DATA_CLASS_TENSOR, content),
        ),
    )
    file.close()


def write_points(folder, norms, **others):
    """A run of two points: a layer whose kernel and bias have these gradient norms."""
    folder.mkdir()
    writer = TensorBoardLogger(
        folder, sizes={"000.a/kernel": 4, "000.a/bias": 1}
    )
    scalars = {"loss": 1.0, **others}
    for name, norm in zip(("kernel", "bias"), norms, strict=True):
        scalars |= {
            f"grad_norm/000.a/{name}": norm,
            f"clipped_grad_norm/000.a/{name}": norm,
        }
        scalars |= {
            f"weight_norm/000.a/{name}": 1.0,
            f"update_ratio/000.a/{name}": norm,
        }
    for step in (1, 2):
        writer(step, LogData(scalars))
    writer.close()


@pytest.fixture(scope="module")
def many(browser, tmp_path_factory):
    """A page on 26 runs of which one is damaged, and how it is called."""
    logdir = tmp_path_factory.mktemp("many")
    for number in range(24):
        write_points(logdir / f"run_{number:02}", (1e-3, 1e-3))
    write_points(
        logdir / "a_bias",
        (0.0, 1e-3),
        **{"zero_grads/000.a/kernel": 0.9, "zero_grads/000.a/bias": 0.9},
    )
    write_map(logdir / "damaged", b"{", float_tensors([np.ones((1, 2))])[0])
    board = program.TensorBoard(
        [
            *default.get_plugins(),
            *([] if Loader in default.get_plugins() else [Loader]),
        ]
    )
    board.configure(logdir=str(logdir), port=0, reload_interval=1)
    address = board.launch()
    deadline = time.monotonic() + 30
    listing = f"{address}data/plugin/{TAB[1:]}/runs"
    while (
        len(json.load(urllib.request.urlopen(listing))) < 26
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}{TAB}")
    yield page.frame_locator("iframe")
    assert not errors
    page.close()


def test_it_says_how_many_runs_it_shows(many):
    many.locator("body[data-drawn='24']").wait_for()
    assert many.locator("#runs").inner_text().startswith("Runs: 24 of 25 shown")
    many.locator("#runs button", has_text="Show all").click()
    many.locator("body[data-drawn='25']").wait_for()
    assert many.locator("#runs").inner_text().startswith("Runs: all 25 shown")


def test_a_damaged_run_is_named_and_the_others_are_shown(many):
    assert many.locator("#faults").inner_text().splitlines() == [
        "⚠ 1 run in this log cannot be shown",
        "damaged: the names of its parameters cannot be read: expected JSON",
    ]
    assert (
        not many.locator("#failure").is_visible()
        and not many.locator("#empty").is_visible()
    )


def test_a_layer_whose_bias_alone_is_alive_is_not_black(many, soon):
    many.locator("#runs button", has_text="None").click()
    many.locator("#runs input[value=a_bias]").check(force=True)
    many.locator("body[data-drawn='1']").wait_for()
    shown = many.locator(".run[data-run=a_bias] .map-canvas")
    read = """canvas => [...canvas.getContext("2d").getImageData(canvas.width / 2, 8, 1, 1).data]"""
    assert min(shown.evaluate(read)) > 150, (
        "the layer moves as is usual, which is pale"
    )
    many.locator("input[name=rows][value=parameters]").check(force=True)
    assert soon(lambda: shown.evaluate(read) == [0, 0, 0, 255]), (
        "the kernel does not move"
    )
    many.locator(".finding", has_text="Zero gradients: 1 of 1 layer").click()
    assert soon(
        lambda: shown.evaluate(read)[0] > shown.evaluate(read)[2] + 60
    ), "much is orange"


def test_a_run_that_comes_later_is_shown(browser, tmp_path, soon):
    (tmp_path / "log").mkdir()
    board = program.TensorBoard(
        [
            *default.get_plugins(),
            *([] if Loader in default.get_plugins() else [Loader]),
        ]
    )
    board.configure(logdir=str(tmp_path / "log"), port=0, reload_interval=1)
    page = browser.new_page()
    page.goto(f"{board.launch()}{TAB}")
    frame = page.frame_locator("iframe")
    frame.locator("#empty").wait_for()
    (tmp_path / "log" / "one").mkdir()
    writer = TensorBoardLogger(tmp_path / "log" / "one")
    writer(
        1,
        LogData(
            {
                "loss": 1.0,
                "grad_norm/000.a/kernel": 1.0,
                "clipped_grad_norm/000.a/kernel": 1.0,
            }
        ),
    )
    writer.close()

    def shown():
        frame.locator("body").evaluate(
            "() => document.dispatchEvent(new Event('visibilitychange'))"
        )
        return frame.locator(".run[data-run=one]").count() == 1

    assert soon(shown)
    shutil.rmtree(tmp_path / "log" / "one")
    assert soon(lambda: not shown() and frame.locator("#empty").is_visible()), (
        "a run that is deleted goes"
    )
    assert not frame.locator("#failure").is_visible()
    page.close()


def test_dark_mode_is_followed(one_tab):
    def ground():
        return one_tab.at("body").evaluate(
            "body => getComputedStyle(body).getPropertyValue('--ground')"
        )

    light = ground()
    one_tab.page.evaluate("document.body.classList.add('dark-mode')")
    one_tab.at("body.dark").wait_for()
    assert ground() != light
    assert one_tab.colours(".map-canvas") > 20 and not one_tab.errors
