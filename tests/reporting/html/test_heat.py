"""The picture of gradient flow: which layer, which step, which colour."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tftrain.reporting.html.heat import (
    LACKING,
    NOT_FINITE,
    ZERO,
    Flow,
    Scale,
    columns,
    flow,
    heat_map,
    palette,
    png,
    shades,
    shared_scale,
)
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.tensorboard.protocol import NONE

STEPS = np.array([1, 2, 4, 8])


def test_a_layer_has_the_norm_of_its_parameters_together():
    names = [
        "loss",
        "grad_norm",
        "grad_norm/000.a/kernel",
        "grad_norm/000.a/bias",
        "grad_norm/001.b.cell/kernel",
    ]
    values = [
        [9, 9, 9, 9],
        [5, 5, 5, 5],
        [3, 0, np.nan, 1],
        [4, 0, 1, np.inf],
        [1, 2, 3, 4],
    ]
    found = flow(
        {
            name: Series(STEPS, np.array(one, float))
            for name, one in zip(names, values, strict=True)
        }
    )
    assert found.layers == ["000.a", "001.b.cell"]
    np.testing.assert_array_equal(found.norms, [[5, 0, np.nan, np.inf], [1, 2, 3, 4]])
    assert flow({"loss": Series(STEPS, STEPS)}) is None


def test_a_layer_that_is_not_trained_at_first_lacks_there():
    late = {
        "grad_norm/0.a/kernel": Series(STEPS, STEPS / 1),
        "grad_norm/1.b/kernel": Series(STEPS[2:], STEPS[2:] / 1),
    }
    found = flow(late)
    np.testing.assert_array_equal(found.norms, [[1, 2, 4, 8], [NONE, NONE, 4, 8]])
    drawn = shades(columns(found), Scale(0, 1))
    assert drawn[1].tolist()[:4] == [LACKING, LACKING, *drawn[0].tolist()[2:4]]
    with Image.open(io.BytesIO(png(drawn))) as image:
        assert np.asarray(image.convert("RGBA"))[1, :, 3].tolist() == [0, 0, *[255] * 6]


def test_a_column_reaches_back_to_the_point_before():
    found = Flow(["a"], STEPS, np.array([[10.0, 20, 40, 80]]))
    np.testing.assert_array_equal(columns(found), [[10, 20, 40, 40, 80, 80, 80, 80]])


def test_no_spike_is_lost_where_points_share_a_column():
    norms = np.ones((2, 6000))
    norms[0, 1234], norms[1, 4321] = 50, np.nan
    drawn = columns(Flow(["a", "b"], np.arange(1, 6001), norms))
    assert drawn.shape == (2, 600)
    assert drawn[0, 123] == 50 and (drawn[0] == 50).sum() == 1
    assert np.flatnonzero(np.isnan(drawn[1])).tolist() == [432]


def test_zero_and_what_is_not_finite_have_colours_of_their_own():
    drawn = shades(
        np.array([[0, np.nan, np.inf, 1e-9, 1e-3, 1e-1, 10, 1e9]]), Scale(-3, 1)
    )
    assert drawn.tolist() == [
        [ZERO, NOT_FINITE, NOT_FINITE, 3, 3, 3 + round(252 / 2), 255, 255]
    ]
    assert palette()[[ZERO, NOT_FINITE, 3, 255]].tolist() == [
        [0, 0, 0],
        [255, 0, 255],
        [68, 1, 84],
        [253, 231, 37],
    ]
    assert (np.diff(palette()[3:] @ [0.2126, 0.7152, 0.0722]) > -0.5).all(), (
        "what is more is lighter, also in grey"
    )


def test_the_png_holds_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 33), np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        image.load()
        np.testing.assert_array_equal(np.asarray(image), pixels)
        np.testing.assert_array_equal(
            np.asarray(image.convert("RGB")), palette()[pixels]
        )


def test_one_scale_for_all_runs():
    flows = [
        Flow(["a"], STEPS, np.array([[1e-6, 0, np.nan, 1e-5]])),
        Flow(["a"], STEPS, np.array([[1, 10, 100, 1e3]])),
    ]
    scale = shared_scale(flows)
    # The ends are the 1 % quantiles of each run: of two values a hundredth of the way, of four three hundredths.
    assert scale == pytest.approx((-6 + 0.01, 3 - 0.03))
    assert shared_scale([Flow(["a"], STEPS, np.full((1, 4), 0.1))]) == pytest.approx(
        (-1.5, -0.5)
    )
    assert shared_scale([Flow(["a"], STEPS, np.zeros((1, 4)))]) == (-1, 0)


def test_a_run_that_explodes_or_vanishes_does_not_make_the_others_look_alike():
    healthy, exploding, vanishing = (
        Flow(["a"], STEPS, np.array([norms]))
        for norms in ([0.1] * 4, [1e3, 1e9, 1e30, 1e30], [1e-30, 1e-20, 1, 1])
    )
    assert shared_scale([healthy, exploding]) == pytest.approx((-1, 4))
    assert shared_scale([healthy, vanishing]) == pytest.approx((-10, 0))
    assert shared_scale([healthy, exploding, exploding, healthy]) == pytest.approx(
        (-1, 4)
    )
    assert shared_scale([exploding]).high == pytest.approx(30)


def test_the_figure_shows_rows_by_depth_and_says_what_is_in_it():
    norms = np.array([[0, 1, 10, np.nan], [1, 1, 1, 1]])
    figure = heat_map("run", Flow(["000.a", "001.b"], STEPS, norms), Scale(0, 1))
    assert re.findall(r"<li[^>]*>([^<]+)", figure) == ["000.a", "001.b"]
    [coded] = re.findall(r"base64,([^\"]+)", figure)
    with Image.open(io.BytesIO(base64.b64decode(coded))) as image:
        drawn = np.asarray(image)
    assert drawn.tolist() == [[ZERO, 3, 255, 255, *[NOT_FINITE] * 4], [3] * 8]
    assert (
        "2 layers over steps 1 to 8, exactly zero in 12.5%, NaN or infinite in 12.5% of the cells"
        in figure
    )
