"""Every tab of TensorBoard shows what a real run wrote, in a browser."""

from __future__ import annotations

import pytest

MODES = ("data server", pytest.param("python", marks=pytest.mark.long))
# Of each tab: what is drawn in it in colours, and words that are there.
DRAWN = {
    "timeseries": ("scalar-card", ["Overview", "clipped/val"]),
    "scalars": ("tf-scalar-card", ["Overview", "loss"]),
    "images": ("tf-image-loader img", ["weights"]),
    "custom_scalars": ("tf-custom-scalar-multi-line-chart-card", []),
    "distributions": ("vz-distribution-chart", ["grad_hist_log10"]),
    "histograms": ("vz-histogram-timeseries", ["grad_hist_log10"]),
}
WORDS = {
    "text": ("tf-text-dashboard", ["config", "hidden", "incidents"]),
    "hparams": (
        "tf-hparams-main",
        ["optimizer.learning_rate", "clipped", "exploding"],
    ),
}


@pytest.fixture(scope="module", params=MODES)
def tab(request, opened):
    """Returns a function that turns to a tab of one page."""
    one = opened(request.param)

    def tab(name):
        one.page.evaluate("name => location.hash = name", name)
        return one.page

    tab.errors = one.errors
    yield tab
    one.page.close()


@pytest.mark.parametrize("name", [*DRAWN])
def test_a_tab_draws(tab, coloured, soon, name):
    selector, words = DRAWN[name]
    page = tab(name)
    drawn = page.locator(selector).first

    def is_drawn():
        drawn.wait_for()
        return coloured(drawn) > 0.002

    assert soon(is_drawn), f"nothing is drawn in {name}"
    for word in words:
        page.get_by_text(word, exact=False).first.wait_for(state="attached")
    assert not tab.errors


def test_the_graph_is_drawn(tab, inked, soon):
    # Colours tell nothing here: TensorBoard deals them out by structure, and some are nearly grey.
    page = tab("graphs")
    steps = ("batch", "gradients", "norms", "transforms", "update")

    def are_drawn():
        nodes = [
            page.locator("tf-graph-scene g.node").filter(has_text=step).first
            for step in steps
        ]
        return all(node.is_visible() and inked(node) > 0.2 for node in nodes)

    if not soon(are_drawn, 20):
        page.reload()  # on a busy machine TensorBoard lays the graph out before its tab has a size, and never again
        assert soon(are_drawn), "the graph is not drawn"
    assert not tab.errors


@pytest.mark.parametrize("name", [*WORDS])
def test_a_tab_tells(tab, name):
    selector, words = WORDS[name]
    page = tab(name)
    for word in words:
        page.locator(selector).get_by_text(word).first.wait_for(
            state="attached"
        )
    assert not tab.errors
