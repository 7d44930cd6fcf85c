"""The Gradients tab in a browser: it draws, and answers the pointer and the keyboard."""

from __future__ import annotations

import re
import shutil

import pytest
from tensorboard import default, program

from tftrain.board.plugin import Loader
from tftrain.core.types import Signals
from tftrain.observers.tensorboard import TensorBoard

MODES = ("data server", "python")
TAB = "#tftrain_gradients"


class Tab:
    """The page within the page that the plugin is."""

    def __init__(self, one):
        self.errors = one.errors
        self.page = one.page
        self.frame = one.page.frame_locator("iframe")
        self.at("body[data-drawn='2']").wait_for()

    def at(self, selector):
        return self.frame.locator(selector)

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
    assert not tab.at("#failure").is_visible() and not tab.at("#empty").is_visible()
    assert "clipped" in tab.at(".run[data-run=clipped]").inner_text()
    assert not tab.errors


def test_hover_and_click_answer(tab):
    canvas = tab.map("clipped")
    canvas.hover(position=middle(canvas))
    tab.at("#tooltip").wait_for()
    parameter, step = re.search(r"(\d{3}\.\S+/kernel)\nstep (\d+)", tab.at("#tooltip").inner_text()).groups()
    canvas.click(position=middle(canvas))
    tab.at("#detail-title").filter(has_text=f"{parameter} · step {step} · clipped").wait_for()
    assert tab.colours("#history") > 5 and tab.colours("#histogram") > 2
    assert "before clipping" in tab.at("#detail").inner_text()
    assert not tab.errors


def test_an_incident_is_marked_and_told(one_tab):
    mark = one_tab.at(".run[data-run=exploding] button.incident")
    assert mark.count() >= 1 and one_tab.at(".run[data-run=clipped] button.incident").count() == 0
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
    assert re.match(r"001\.\S+/kernel, step 60: [\d.]", one_tab.at("#status").inner_text())
    canvas.press("Enter")
    one_tab.at("#detail-title").filter(has_text="step 60 · clipped").wait_for()
    canvas.press("Escape")
    one_tab.at("#detail").wait_for(state="hidden")
    assert not one_tab.errors


def test_quantity_rows_and_runs_can_be_chosen(one_tab, soon):
    before = one_tab.map("clipped").bounding_box()["height"]
    one_tab.at("input[name=rows][value=all]").check(force=True)
    assert soon(lambda: one_tab.map("clipped").bounding_box()["height"] > before), "no rows were added"
    one_tab.at("input[name=quantity][value=update_ratio]").check(force=True)
    one_tab.at("#legend").filter(has_text=re.compile("update", re.I)).wait_for()
    one_tab.at("#runs input[value=exploding]").uncheck(force=True)
    one_tab.at("body[data-drawn='1']").wait_for()
    assert one_tab.at(".run").count() == 1 and one_tab.colours(".map-canvas") > 20
    assert not one_tab.errors


def test_each_run_can_have_its_own_scale(one_tab, soon):
    one_tab.at("#runs input[value=exploding]").check(force=True)
    one_tab.at("body[data-drawn='2']").wait_for()
    one_tab.at("input[name=scale][value=own]").check(force=True)
    ranges = one_tab.at(".run .range")
    assert soon(lambda: all(re.fullmatch(r" ?colours from \S+ to \S+", text) for text in ranges.all_text_contents()))
    assert len(set(ranges.all_text_contents())) == 2
    one_tab.at("input[name=scale][value=shared]").check(force=True)
    assert soon(lambda: not "".join(ranges.all_text_contents()))
    assert not one_tab.errors


def test_dead_units_have_a_row_for_each_layer_with_relus(one_tab, soon):
    one_tab.at("input[name=quantity][value=dead_units]").check(force=True)
    one_tab.at("#legend").filter(has_text="no ReLU").wait_for()
    one_tab.map("clipped").focus()
    for _ in range(9):
        one_tab.map("clipped").press("ArrowDown")
    assert soon(lambda: one_tab.at("#status").inner_text().startswith("001.hidden_2")), "the output has no ReLU"
    one_tab.at("input[name=quantity][value=grad_norm]").check(force=True)
    assert not one_tab.errors


def test_the_focus_goes_to_what_is_opened_and_back(one_tab, soon):
    canvas = one_tab.map("clipped")
    canvas.focus()
    canvas.press("Enter")
    focused = "() => document.activeElement.id || document.activeElement.className"
    assert soon(lambda: one_tab.at("body").evaluate(focused) == "detail-title")
    one_tab.at("#detail-title").press("Escape")
    assert soon(lambda: one_tab.at("body").evaluate(focused) == "map-canvas")


@pytest.fixture(scope="module")
def call(one_tab):
    """Returns a function that calls one of a module of the page with arguments."""

    def call(module, name, *arguments):
        loaded = "([url, name, given]) => import(url).then(module => module[name](...given))"
        url = one_tab.at("body").evaluate("() => performance.getEntriesByType('resource').map(one => one.name)")
        [url] = [one for one in dict.fromkeys(url) if one.endswith(f"/static/{module}.js")]
        return one_tab.at("body").evaluate("(_, given) => (" + loaded + ")(given)", [url, name, arguments])

    return call


def test_a_run_that_explodes_or_vanishes_does_not_make_the_others_look_alike(call):
    healthy, exploding, vanishing = [[0.01, 0.1, 1.0]], [[1e3, 1e9, 1e30]], [[1e-20, 1e-10, 1.0]]
    alone = call("scale", "colourScale", [healthy], False)
    assert (alone["low"], alone["high"], alone["beyond"]) == (-2, 0, [False, False])
    scale = call("scale", "colourScale", [healthy, exploding], False)
    assert (scale["low"], scale["high"], scale["beyond"]) == (-2, 4, [False, True])
    scale = call("scale", "colourScale", [healthy, vanishing], False)
    assert (scale["low"], scale["high"], scale["beyond"]) == (-10, 0, [True, False])
    scale = call("scale", "colourScale", [healthy, exploding, exploding, healthy], False)
    assert (scale["low"], scale["high"], scale["beyond"]) == (-2, 4, [False, True])
    assert call("scale", "colourScale", [[[0.0, 0.0]]], False)["nothing"]


def test_numbers_beside_an_axis_are_told_apart(call):
    assert [one["text"] for one in call("scale", "named", [2.3015, 2.302, 2.3025])] == ["2.3015", "2.302", "2.3025"]
    assert [one["text"] for one in call("scale", "named", [0, 0.5, 1, 150_000])] == ["0", "0.5", "1", "1.5e5"]


def test_the_axis_of_steps_spans_the_loss_also_where_little_is_measured(call):
    axis = call("axis", "stepAxis", [100, 200], 50, 450, [[1, 2, 3, 200], []])
    assert (axis["low"], axis["high"]) == (0.5, 200.5)
    assert call("axis", "stepAxis", [7], 0, 1)["low"] == 6.5


def test_the_share_of_clipped_steps_goes_by_steps_and_not_by_points(call):
    assert call("strip", "stepShare", {"steps": [10, 20, 100], "values": [1, 1, 0]}) == 0.2
    assert call("strip", "stepShare", {"steps": [], "values": []}) == 0


def test_a_run_that_comes_later_is_shown(browser, tmp_path, soon):
    (tmp_path / "log").mkdir()
    board = program.TensorBoard([*default.get_plugins(), *([] if Loader in default.get_plugins() else [Loader])])
    board.configure(logdir=str(tmp_path / "log"), port=0, reload_interval=1)
    page = browser.new_page()
    page.goto(f"{board.launch()}{TAB}")
    frame = page.frame_locator("iframe")
    frame.locator("#empty").wait_for()
    (tmp_path / "log" / "one").mkdir()
    writer = TensorBoard(tmp_path / "log" / "one")
    writer(1, Signals({"loss": 1.0, "grad_norm/000.a/kernel": 1.0, "clipped_grad_norm/000.a/kernel": 1.0}))
    writer.close()

    def shown():
        frame.locator("body").evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
        return frame.locator(".run[data-run=one]").count() == 1

    assert soon(shown)
    shutil.rmtree(tmp_path / "log" / "one")
    assert soon(lambda: not shown() and frame.locator("#empty").is_visible()), "a run that is deleted goes"
    assert not frame.locator("#failure").is_visible()
    page.close()


def test_dark_mode_is_followed(one_tab):
    def ground():
        return one_tab.at("body").evaluate("body => getComputedStyle(body).getPropertyValue('--ground')")

    light = ground()
    one_tab.page.evaluate("document.body.classList.add('dark-mode')")
    one_tab.at("body.dark").wait_for()
    assert ground() != light
    assert one_tab.colours(".map-canvas") > 20 and not one_tab.errors
