"""The HTML report in a browser: its maps are drawn, and nothing is fetched."""

from __future__ import annotations

import pytest

from tftrain.reporting.html.page import write_report


@pytest.fixture
def report(browser, logdir, tmp_path):
    """The page of a report of both runs; `page.errors` are those on its console."""
    path = write_report(
        [logdir / "clipped", logdir / "exploding"], tmp_path / "r.html"
    )
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.errors = []
    page.requests = []
    page.on("console", lambda line: page.errors.append(line.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    page.close()


def test_the_maps_are_drawn(report, coloured):
    maps = report.locator(".map-canvas")
    assert maps.count() == 2
    for index in range(2):
        maps.nth(index).scroll_into_view_if_needed()
        assert coloured(maps.nth(index)) > 0.5
    assert coloured(report.locator(".legend-canvas")) > 0.1
    assert report.errors == []


def test_a_cell_says_its_number(report):
    canvas = report.locator(".map-canvas").first
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": 300, "y": 40})
    tooltip = report.locator("#tooltip")
    assert tooltip.is_visible()
    assert tooltip.text_content().startswith("001.hidden_2\nstep 1")


def test_the_curves_are_images_within_the_file(report, inked):
    images = report.locator(".charts img")
    assert images.count() == 4
    widths = images.evaluate_all(
        "images => images.map((one) => one.naturalWidth)"
    )
    assert min(widths) > 100
    assert inked(images.first) > 0.01
    assert all(url.startswith(("file:", "data:")) for url in report.requests)
