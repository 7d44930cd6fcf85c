"""The loss over two weights, of scenes that are made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tftrain.reporting.plots.loss_surface import (
    _grid_losses,
    _grid_side,
    _measured_path,
    loss_surface,
)
from tftrain.reporting.plots.style import to_pixels

NAMES = ["000.a/bias", "000.a/kernel"]
PARAMS = [np.array([0.5]), np.array([[1.0, 2.0], [3.0, 4.0]])]


def bowl(bias, kernel):
    return float(
        (bias**2).sum() + (kernel[0, 0] - 1) ** 2 + 100 * kernel[1, 1] ** 2
    )


def scene(loss=bowl, history=None, params=PARAMS, step=9):
    def losses(places, values):
        found = []
        for point in values:
            moved = [param.copy() for param in params]
            for (param, place), value in zip(places, point, strict=True):
                moved[param].ravel()[place] = value
            found.append(loss(*moved))
        return np.array(found)

    return SimpleNamespace(
        step=step,
        names=NAMES,
        params=params,
        losses=losses,
        history=history or {},
    )


def test_the_grid_has_the_loss_at_each_place_and_all_else_as_it_is():
    sides = [np.array([0.0, 1.0, 2.0]), np.array([-1.0, 3.0])]
    found = _grid_losses(scene(), ((1, 0), (1, 3)), sides)
    np.testing.assert_allclose(
        found,
        [
            [0.25 + (x - 1) ** 2 + 100 * y**2 for x in sides[0]]
            for y in sides[1]
        ],
    )
    across = _grid_losses(scene(), ((1, 0), (0, 0)), sides)
    np.testing.assert_allclose(
        across,
        [[y**2 + (x - 1) ** 2 + 1600 for x in sides[0]] for y in sides[1]],
    )
    assert PARAMS[0] == 0.5 and PARAMS[1][0, 0] == 1, "nothing is changed"


def test_the_first_two_numbers_are_shown_or_those_that_are_named():
    [axes, bar] = loss_surface(scene(), resolution=5).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "000.a/kernel.0.0",
        "000.a/kernel.0.1",
    )
    assert axes.get_xlim() == (0, 2) and axes.get_ylim() == (0, 4), (
        "as much as the number itself on both sides"
    )
    [axes, bar] = loss_surface(
        scene(), x="000.a/bias.0", y_range=[-1, 1], resolution=5
    ).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "000.a/bias.0",
        "000.a/kernel.0.1",
    )
    assert (
        axes.get_ylim() == (-1, 1)
        and bar.get_ylabel() == "loss of the first training batch"
    )


def test_the_way_goes_from_the_first_step_that_was_measured_to_where_it_is():
    steps, other = np.array([1, 2, 3, 20]), np.array([2, 3, 4, 20])
    history = {
        "probes/weight/000.a/kernel.0.0": (steps, [5.0, 6.0, 7.0, 9.0]),
        "probes/weight/000.a/kernel.1.1": (other, [1, np.inf, 3, 9]),
    }
    history = {
        name: (steps, np.array(values))
        for name, (steps, values) in history.items()
    }
    names = ("000.a/kernel.0.0", "000.a/kernel.1.1")
    np.testing.assert_array_equal(
        _measured_path(scene(history=history), names),
        [[6, np.nan], [1, np.nan]],
    )
    figure = loss_surface(scene(history=history), *names, resolution=5)
    drawn = {
        line.get_label(): line.get_xydata().tolist()
        for line in figure.axes[0].lines
    }
    assert drawn["2 steps measured"][0] == drawn["start"][0] == [6, 1]
    assert drawn["2 steps measured"][-1] == drawn["now"][0] == [1, 4]
    assert figure.axes[0].get_xlim() == (1 - 1.25, 6 + 1.25), (
        "a quarter on both sides"
    )
    alone = loss_surface(scene(), *names, resolution=5)
    assert [line.get_label() for line in alone.axes[0].lines] == ["now"]


def test_levels_are_logarithmic_where_the_loss_spans_decades_and_what_is_not_finite_is_magenta():
    def magenta(image):
        red, green, blue = np.moveaxis(image.astype(int), -1, 0)
        return ((red > 230) & (green < 60) & (blue > 230)).mean()

    wide = loss_surface(
        scene(), "000.a/kernel.0.0", "000.a/kernel.1.1", resolution=9
    )
    levels = wide.axes[0].collections[0].levels
    np.testing.assert_allclose(levels[1:] / levels[:-1], levels[1] / levels[0])
    narrow = (
        loss_surface(scene(lambda bias, kernel: 5 + kernel[0, 0]), resolution=9)
        .axes[0]
        .collections[0]
        .levels
    )
    np.testing.assert_allclose(np.diff(narrow), narrow[1] - narrow[0])
    assert magenta(to_pixels(wide)) == 0
    half = scene(
        lambda bias, kernel: np.nan if kernel[0, 0] > 1 else kernel[0, 0]
    )
    assert magenta(to_pixels(loss_surface(half, resolution=9))) > 0.1
    assert (
        magenta(to_pixels(loss_surface(scene(lambda *_: np.inf), resolution=9)))
        > 0.3
    )
    flat = loss_surface(scene(lambda *_: 2.0), resolution=9)
    assert to_pixels(flat).size and flat.axes[0].collections[
        0
    ].levels.tolist() == [
        1.5,
        2.5,
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"x": "kernel"},
            "x: given 'kernel', which names no number; the last of each parameter are 000.a/bias.0, 000",
        ),
        (
            {"y": "000.a/kernel.0.0"},
            "x and y are both '000.a/kernel.0.0'; expected two numbers",
        ),
        (
            {"x_range": [2, 1]},
            r"x_range: given \[2, 1\]; expected the least and then the greatest",
        ),
    ],
)
def test_what_it_refuses(arguments, told):
    with pytest.raises(ValueError, match=told):
        loss_surface(scene(), resolution=3, **arguments)


def test_of_single_numbers_two_have_to_be_named():
    single = scene(params=[np.array([0.5]), np.array([[1.0]])])
    with pytest.raises(ValueError, match="name two of them as x and y"):
        loss_surface(single, x="000.a/bias.0")
    single.losses = lambda places, values: np.ones(len(values))
    assert loss_surface(
        single, "000.a/bias.0", "000.a/kernel.0.0", resolution=3
    ).axes


def test_a_side_of_nothing_finite():
    np.testing.assert_array_equal(
        _grid_side("x", None, np.array([np.nan]), 3), [-1.5, 0, 1.5]
    )
