"""Curves: where the points are, and that none is lost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tftrain.reporting.html.axis import (
    Axis,
    brief,
    decades,
    power,
    round_numbers,
    spanning,
)
from tftrain.reporting.html.chart import MOST_POINTS, Curve, chart, thinned


def points(svg, which=0):
    """[pieces][points](x, y) of the lines of a curve."""
    curve = re.findall(r"<g class=\"c\d[^>]*>(.*?)</g>", svg)[which]
    pieces = re.findall(r'points="([^"]*)"', curve)
    return [
        [tuple(map(float, one.split(","))) for one in piece.split()] for piece in pieces
    ]


def test_every_point_is_drawn_where_it_belongs():
    steps = np.array([1, 2, 4, 8, 11])
    svg = chart("loss", [Curve("train", 0, steps, np.array([5.0, 4, 3, 2, 1]))])
    [drawn] = points(svg)
    x, y = np.array(drawn).T
    left, width = 46, 302
    np.testing.assert_allclose(
        x, left + (steps - 1) / 10 * width, atol=0.005
    )  # two digits are written
    assert len(drawn) == 5 and (np.diff(y) > 0).all(), "what is less is further down"
    np.testing.assert_allclose(
        np.diff(y), np.diff(y)[0], atol=0.11
    )  # one digit is written
    assert "train from 5 to 1, least 1, most 5" in svg


def test_a_line_breaks_where_there_is_no_number_and_a_mark_says_so():
    values = np.array([1, np.nan, 2, 3, np.inf, -1])
    svg = chart("loss", [Curve("train", 0, np.arange(6), values)])
    assert [len(piece) for piece in points(svg)] == [2, 2, 2], (
        "a point alone is drawn twice, as a dot"
    )
    [marks] = re.findall(r'<path d="([^"]*)" class="nonfinite"', svg)
    assert marks.count("M") == 2 and "NaN or infinite" in svg
    assert (
        points(chart("loss", [Curve("train", 0, np.arange(3), np.full(3, np.nan))]))
        == []
    )


def test_an_axis_is_logarithmic_where_values_are_far_apart():
    def logarithmic(values):
        return bool(
            re.search(
                r'data-y="[^"]* 1"',
                chart("x", [Curve("", 0, np.arange(len(values)), values)]),
            )
        )

    assert logarithmic(np.array([1e3, 10, 1, 0.1, 0.1]))
    assert not logarithmic(np.array([1.0, 50, 100]))
    assert not logarithmic(np.array([1e3, 0, 1, 0.1, 0.1]))
    assert not logarithmic(np.array([*np.linspace(1, 0.1, 50), 1e-9])), (
        "the end of a rate that decays to zero"
    )


def test_of_many_points_the_extremes_of_neighbours_are_kept():
    rng = np.random.default_rng(0)
    steps, values = np.arange(1, 50_001), rng.normal(size=50_000)
    values[[777, 44_444]] = 100, -100
    values[30_000] = np.nan
    kept_steps, kept = thinned(steps, values)
    assert (
        len(kept) <= MOST_POINTS
        and {100, -100} <= set(kept)
        and np.isnan(kept).sum() == 1
    )
    assert (
        kept_steps[0] == 1
        and kept_steps[-1] == 50_000
        and (np.diff(kept_steps) > 0).all()
    )
    short = thinned(steps[:MOST_POINTS], values[:MOST_POINTS])
    assert len(short[0]) == MOST_POINTS


def test_many_points_have_a_running_mean():
    steps, values = np.arange(500), np.tile([0.0, 2.0], 250)
    svg = chart("loss", [Curve("train", 0, steps, values)])
    inner = re.findall(r'<g class="(faint|mean)"><polyline points="([^"]*)"', svg)
    assert [(name, len(line.split())) for name, line in inner] == [
        ("faint", 500),
        ("mean", 167),
    ]
    assert "mean" not in re.findall(
        r'class="(\w+)"', chart("rate", [Curve("", 0, steps, values, smooth=False)])
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3, 4, [-2, 0, 2, 4]),
        (1, 1200, [500, 1000]),
        (0, 1e-7, [0, 5e-8, 1e-7]),
    ],
)
def test_ticks_are_round(low, high, expected):
    most = {1: 5, 4: 5, 1200: 4, 1e-7: 3}[high]
    np.testing.assert_allclose(round_numbers(low, high, most), expected)


def test_words_of_ticks():
    assert [brief(one) for one in (0, 0.05, 1200, 5e-7, 2e6)] == [
        "0",
        "0.05",
        "1200",
        "5e-7",
        "2e6",
    ]
    assert decades(-7.2, 3.1, 5) == [-6, -3, 0, 3] and power(-13) == "10⁻¹³"
    narrow = spanning(np.array([2.0, 3.0]), 0, 100, True)
    assert [words for _, words in narrow.ticks(5)] == ["2", "2.5", "3"]
    assert Axis(0, 2, 10, 100, True).places(np.array([1, 10, 100])).tolist() == [
        10,
        60,
        110,
    ]
