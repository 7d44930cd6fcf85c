"""The Gradients tab in a browser: it draws, and answers the pointer and the keyboard."""

from __future__ import annotations

import re

import pytest

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
    one_tab.at("#detail-title").filter(has_text="Incident at step").wait_for()
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


def test_dark_mode_is_followed(one_tab):
    def ground():
        return one_tab.at("body").evaluate("body => getComputedStyle(body).getPropertyValue('--ground')")

    light = ground()
    one_tab.page.evaluate("document.body.classList.add('dark-mode')")
    one_tab.at("body.dark").wait_for()
    assert ground() != light
    assert one_tab.colours(".map-canvas") > 20 and not one_tab.errors
