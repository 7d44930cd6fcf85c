"""What pictures show of scenes that are made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tftrain.core.types import Batch, DataSpec
from tftrain.diagnostics.layer_stats import LayerTrace
from tftrain.reporting.plots.decision_map import decision_map
from tftrain.reporting.plots.heatmaps import gradients, weights
from tftrain.reporting.plots.layers import (
    _log_norms,
    gradient_flow,
    gradient_map,
    layer_names,
    signal_flow,
)
from tftrain.reporting.plots.style import to_pixels
from tftrain.reporting.plots.time_lag import lag_norms, time_lag

NAMES = ["000.hidden/kernel", "000.hidden/bias", "001.output/kernel"]


def scene(step=7, classes=2, x=None, y=None, predict=None, **more):
    x = (
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        if x is None
        else x
    )
    y = np.array([0, 1, 1, 0]) if y is None else y
    batch = Batch(x, y)
    facts = DataSpec(x.shape[1:], y.shape[1:], classes)
    shown = {
        "names": NAMES,
        "examples": lambda most: batch,
        "predict": predict,
        "history": {},
        **more,
    }
    return SimpleNamespace(step=step, facts=facts, batch=batch, **shown)


def coloured(image, test):
    """The share of pixels that pass a test of red, green and blue."""
    return test(*np.moveaxis(image.astype(int), -1, 0)).mean()


def blue(red, green, blue):
    return blue > red + 40


def orange(red, green, blue):
    return red > blue + 40


def magenta(red, green, blue):
    return (red > 240) & (green < 30) & (blue > 240)


def black(red, green, blue):
    return (red < 10) & (green < 10) & (blue < 10)


def right_half_is_class_one(x):
    return np.where(x[:, :1] > 0.5, 0.99, 0.01)


def test_a_decision_map_has_the_classes_where_the_model_puts_them():
    figure = decision_map(scene(predict=right_half_is_class_one))
    axes = figure.axes[0]
    image = to_pixels(figure)
    assert image.shape == (625, 750, 3) and image.dtype == np.uint8
    left, right = (
        image[100:500, columns]
        for columns in (slice(120, 300), slice(400, 560))
    )
    assert coloured(left, blue) > 0.7 and coloured(left, orange) < 0.05
    assert coloured(right, orange) > 0.7 and coloured(right, blue) < 0.05
    assert figure.get_suptitle() == "decision map, step 7"
    assert "from 0.01 to 0.99" in figure.axes[1].get_ylabel()
    assert [one.get_label() for one in axes.get_legend().legend_handles] == [
        "class 0",
        "class 1",
    ]


def test_a_decision_map_of_three_classes_and_of_numbers():
    def third(x):
        return np.eye(3)[np.clip((x[:, 0] * 3).astype(int), 0, 2)]

    regions = to_pixels(
        decision_map(scene(classes=3, y=np.array([0, 1, 2, 0]), predict=third))
    )
    one_hot = to_pixels(
        decision_map(scene(classes=3, y=np.eye(3)[[0, 1, 2, 0]], predict=third))
    )
    np.testing.assert_array_equal(regions, one_hot)
    assert len({tuple(regions[300, column]) for column in (120, 380, 700)}) == 3
    numbers = scene(
        classes=None, y=np.ones((4, 1)), predict=lambda x: x[:, :1] - 0.5
    )
    assert (
        decision_map(numbers).axes[1].get_ylabel()
        == "output; in the points their targets"
    )
    shown = decision_map(numbers).axes[0].collections
    assert (
        shown[0].get_clim() == shown[1].get_clim()
        and shown[0].get_clim()[1] == 1
    ), "targets are in the scale too"


def test_a_decision_map_of_many_classes_has_a_colour_for_each():
    labels = np.arange(10)
    x = np.stack([labels, labels], 1).astype(np.float32)
    figure = decision_map(
        scene(
            classes=10,
            x=x,
            y=labels,
            predict=lambda x: np.eye(10)[
                x[:, 0].round().clip(0, 9).astype(int)
            ],
        )
    )
    colours = [
        tuple(one.get_facecolor()[0]) for one in figure.axes[0].collections
    ]
    assert len(set(colours)) == 10


def test_a_model_gone_wrong_is_magenta():
    def nothing(outputs):
        return lambda x: np.full((len(x), outputs), np.nan)

    assert (
        coloured(to_pixels(decision_map(scene(predict=nothing(1)))), magenta)
        > 0.3
    )
    assert (
        coloured(
            to_pixels(decision_map(scene(classes=3, predict=nothing(3)))),
            magenta,
        )
        > 0.3
    )
    bad = [np.full((2, 2), np.nan), np.zeros(2), np.array([[1.0, np.inf]])]
    figure = weights(scene(params=bad))
    assert coloured(to_pixels(figure), magenta) > 0.1
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == [
        "nothing finite; 4 NaN or Inf",
        "1 to 1; 1 NaN or Inf",
    ]


def test_a_decision_map_needs_a_plane():
    with pytest.raises(
        ValueError,
        match=r"inputs of the shape \[3\]; expected 2 numbers for each example",
    ):
        decision_map(scene(x=np.zeros((4, 3))))


PARAMS = [
    np.array([[-2.0, 0], [1, 1]]),
    np.array([0.5, -0.5]),
    np.arange(6.0).reshape(3, 2),
]


def test_matrices_have_a_symmetric_scale_and_say_their_range():
    figure = weights(scene(params=PARAMS))
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == [
        f"{name}\nkernel, {rows} in (down) x 2 out (across)"
        for name, rows in (("000.hidden", 2), ("001.output", 3))
    ]
    assert [axes.get_xlabel() for axes in panels] == ["-2 to 1", "0 to 5"]
    assert [axes.images[0].get_clim() for axes in panels] == [(-2, 2), (-5, 5)]
    image = to_pixels(figure)
    assert coloured(image, blue) > 0.03 and coloured(image, orange) > 0.03


def test_gradients_are_those_before_or_after_the_clips():
    given = scene(
        params=PARAMS, raw=[4 * one for one in PARAMS], clipped=PARAMS
    )
    before, after = (
        gradients(given, only="bias"),
        gradients(given, only="bias", clipped=True),
    )
    assert [figure.axes[0].get_xlabel() for figure in (before, after)] == [
        "-2 to 2",
        "-0.5 to 0.5",
    ]
    assert [figure.get_suptitle() for figure in (before, after)] == [
        "gradients, step 7",
        "clipped gradients, step 7",
    ]


def test_the_matrices_to_show_are_spread_over_the_layers_or_named():
    names = [f"{layer:03d}.dense/kernel" for layer in range(20)]
    deep = scene(names=names, params=[np.eye(2)] * 20)
    titles = [
        axes.get_title()[:3]
        for axes in weights(deep, most=3).axes
        if axes.images
    ]
    assert titles == ["000", "010", "019"] or titles == ["000", "009", "019"]
    with pytest.raises(
        ValueError,
        match="only: given 'conv', which is in no parameter's name; there are 000.dense/ker",
    ):
        weights(deep, only="conv")


def test_of_a_large_matrix_some_rows_are_left_out():
    [shown] = (
        weights(scene(names=["a/kernel"], params=[np.ones((2000, 7))]))
        .axes[0]
        .images
    )
    assert shown.get_array().shape == (400, 7)


def history(norms):
    """Of [points, layers]; the first layer has its norm in two parameters."""
    steps = np.arange(1, len(norms) + 1) * 10
    split = np.sqrt(norms[:, 0] ** 2 / 2)
    return {
        f"grad_norm/{name}": (steps, one)
        for name, one in zip(NAMES, [split, split, norms[:, 1]], strict=True)
    }


def test_a_gradient_map_marks_zero_and_what_is_not_finite():
    norms = np.array([[1e-3, 1.0], [0, 1.0], [np.nan, 10.0], [1e-2, np.inf]])
    image = to_pixels(gradient_map(scene(history=history(norms))))
    assert coloured(image, black) > 0.05 and coloured(image, magenta) > 0.1
    healthy = to_pixels(gradient_map(scene(history=history(np.ones((4, 2))))))
    assert (
        coloured(healthy, magenta) == 0 and coloured(healthy, black) < 0.01
    ), "but for letters"


def test_the_decades_of_a_map():
    found, low, high = _log_norms(np.array([[1e-3, 0], [np.nan, 10]]))
    assert (low, high) == pytest.approx((-3, 1))
    np.testing.assert_allclose(found.filled(np.inf), [[-3, -4], [np.inf, 1]])


def test_gradient_flow_shows_layers_now_clipped_and_before():
    norms = np.array([[1e-3, 1.0], [1e-2, 1.0], [1e-1, 0.0]])
    told = history(norms) | {
        f"clipped_{name}": (steps, one / 2)
        for name, (steps, one) in history(norms).items()
    }
    [axes] = gradient_flow(scene(history=told)).axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert [*lines] == [
        "step 10",
        "step 20",
        "step 30",
        "clipped",
        "exactly 0",
    ] and axes.get_yscale() == "log"
    np.testing.assert_allclose(lines["step 30"], [0.1, np.nan])
    np.testing.assert_allclose(lines["clipped"], [0.05, np.nan])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "000.hidden",
        "001.output",
    ]


def test_gradient_flow_marks_what_is_not_finite():
    [axes] = gradient_flow(
        scene(history=history(np.array([[1.0, 1.0], [np.nan, 2.0]])))
    ).axes
    [mark] = [line for line in axes.lines if line.get_label() == "NaN or Inf"]
    assert mark.get_xdata().tolist() == [0] and mark.get_color() == "magenta"


def test_signal_flow_shows_layers_with_their_activations_there_and_back():
    a, delta = np.array([[1.0, -1.0], [3.0, 5.0]]), np.array([[3.0, 4.0]])
    rows = [
        LayerTrace("000.hidden", "Dense", None, None, 10 * a, delta, delta),
        LayerTrace("000.dropout", "Dropout", None, None, a, delta, delta),
        LayerTrace("000.relu", "Activation", "relu", a, a, 7 * delta, delta),
        LayerTrace(
            "001.output", "Dense", "sigmoid", a, 0 * a, 0 * delta, delta
        ),
    ]
    [axes] = signal_flow(scene(passes=SimpleNamespace(layers=rows))).axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["forward: std of a"], [np.std(a), np.nan])
    np.testing.assert_allclose(
        lines[r"back: size of $\delta$"], [np.sqrt(12.5), np.nan]
    )
    assert "exactly 0" in lines and [
        text.get_text() for text in axes.get_xticklabels()
    ] == ["000.hidden", "001.output"]


def test_there_is_nothing_to_draw_before_anything_is_logged():
    assert gradient_map(scene()) is None and gradient_flow(scene()) is None


def test_the_time_lag_counts_back_from_the_last_step():
    gradient = np.zeros((2, 4, 3))
    gradient[:, :, 0] = [1e-4, 1e-3, 0, 1]
    np.testing.assert_allclose(lag_norms(gradient), [1, np.nan, 1e-3, 1e-4])
    gradient[1] = 0  # an example that is left out does not make the mean less
    np.testing.assert_allclose(lag_norms(gradient), [1, np.nan, 1e-3, 1e-4])
    [axes] = time_lag(
        scene(reaching={"x": gradient, "000.dense": np.zeros((2, 3))})
    ).axes
    assert [line.get_label() for line in axes.lines] == ["x, -4.0 decades"]
    with pytest.raises(ValueError, match="a model without sequences"):
        time_lag(scene(reaching={"x": np.zeros((2, 3))}))


def test_what_is_no_picture_is_told():
    image = np.zeros((2, 3, 4), np.uint8)
    assert to_pixels(image) is image
    with pytest.raises(
        TypeError, match=r"gave uint8 \[0, 0, 3\]; expected a figure"
    ):
        to_pixels(np.zeros((0, 0, 3), np.uint8))
    with pytest.raises(
        TypeError,
        match=r"gave float64 \[2, 3\]; expected a figure of matplotlib, or uint8",
    ):
        to_pixels(np.zeros((2, 3)))


def test_a_gradient_map_has_the_first_layer_at_the_top():
    figure = gradient_map(scene(history=history(np.ones((4, 2)))))
    axes = figure.axes[0]
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()][
        0
    ] == layer_names(scene().names)[0]
