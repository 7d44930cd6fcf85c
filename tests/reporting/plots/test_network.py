"""The picture of a network: every number in it is one that a pencil finds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.patches import Circle

from tftrain.core.types import Batch
from tftrain.diagnostics.layer_stats import LayerTrace, ModelTrace
from tftrain.reporting.plots.dense_chain import dense_chain
from tftrain.reporting.plots.network import network
from tftrain.reporting.plots.style import to_pixels

NAMES = ["000.hidden/kernel", "000.hidden/bias", "001.output/kernel"]
X, Y = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[1.0], [0.0]])
HIDDEN, BIAS, OUTPUT = (
    np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5]]),
    np.array([0.1, 0.2, -0.3]),
    np.ones((3, 1)),
)


def scene(**changes):
    """Dense, ReLU as a layer of its own, dense, under half the mean squared error of two examples."""
    z = X @ HIDDEN + BIAS
    a = np.maximum(z, 0)
    y = a @ OUTPUT
    delta_out = (y - Y) / 2
    delta = delta_out @ OUTPUT.T * (z > 0)
    rows = [
        LayerTrace("000.hidden", "Dense", None, None, z, delta, delta),
        LayerTrace(
            "000.activation",
            "Activation",
            "relu",
            z,
            a,
            delta,
            delta_out @ OUTPUT.T,
        ),
        LayerTrace("001.output", "Dense", None, None, y, delta_out, delta_out),
    ]
    params, grads = (
        [HIDDEN, BIAS, OUTPUT],
        [X.T @ delta, delta.sum(0), a.T @ delta_out],
    )
    told = {
        "passes": ModelTrace(
            float(((y - Y) ** 2).mean() / 2), rows, NAMES, params, grads, []
        )
    } | changes
    return SimpleNamespace(
        step=3, names=NAMES, params=params, batch=Batch(X, Y), **told
    )


def texts(figure):
    return [one.get_text() for one in figure.axes[0].texts]


def test_each_weight_and_unit_is_told_with_what_comes_back():
    figure = network(scene())
    said = texts(figure)
    # Example 0: z = (-1.4, -1.8, 0.95), so only the third ReLU lets through: y = 0.95, delta = (0.95 - 1) / 2.
    assert {"z -1.4\na 0", "z -1.8\na 0", "z 0.95\na 0.95", "0.95"} <= set(said)
    relus = [
        "$\\delta$ 0\nda -0.025, f' 0",
        "$\\delta$ 0\nda -0.025, f' 0",
        "$\\delta$ -0.025\nda -0.025, f' 1",
    ]
    assert [one for one in said if one.startswith("$\\delta$")] == [
        *relus,
        r"$\delta$ -0.025",
    ]
    assert {"w 0.25\ndw -0.025", "w -0.5\ndw 0.05", "w 1\ndw -0.0238"} <= set(
        said
    )
    assert {
        "b 0.1",
        "b 0.2",
        "b -0.3",
        "input",
        "000.hidden\nrelu",
        "001.output",
    } <= set(said)
    assert any(
        one.startswith("example 0 of 0 to 1, target 1, loss ") for one in said
    )
    assert (
        sum(isinstance(one, Circle) for one in figure.axes[0].patches)
        == 2 + 3 + 1
    )
    assert to_pixels(figure).std() > 10


def test_what_the_examples_add_is_the_gradient():
    given = scene()
    for layer, grad in zip(
        dense_chain(given), given.passes.grads[::2], strict=True
    ):
        added = sum(
            np.outer(layer.inputs[one], layer.delta[one]) for one in range(2)
        )
        np.testing.assert_allclose(added, grad, rtol=1e-12)


def test_wide_layers_are_drawn_in_part():
    said = texts(network(scene(), units=2))
    assert "000.hidden\nrelu\n2 of 3 units" in said and "input" in said


def test_what_is_not_finite_is_magenta():
    given = scene()
    given.params[0] = HIDDEN.copy()
    given.params[0][0, 0] = np.nan
    assert "magenta" in {
        line.get_color()
        for line in network(given).axes[0].lines
        if isinstance(line.get_color(), str)
    }


def test_other_networks_are_refused():
    ends = "; expected dense layers one behind the other$"
    with pytest.raises(
        ValueError, match="example: given 2; expected a number below 2"
    ):
        network(scene(), example=2)
    shared = (
        scene()
    )  # a kernel that is used a second time elsewhere has more of a gradient
    shared.passes.grads[2] = 2 * shared.passes.grads[2]
    with pytest.raises(
        ValueError,
        match=f"the gradient of 001.output/kernel is not delta times a.*{ends}",
    ):
        network(shared)
    other = scene()
    other.passes.layers[0] = other.passes.layers[0]._replace(kind="Conv2D")
    with pytest.raises(ValueError, match=rf"with 000.hidden \(Conv2D\){ends}"):
        network(other)
    noisy = scene()
    noisy.passes.layers[1] = noisy.passes.layers[1]._replace(kind="Dropout")
    with pytest.raises(
        ValueError, match=rf"with 000.activation \(Dropout\){ends}"
    ):
        network(noisy)
    several = scene()
    several.batch = Batch({"a": X, "b": X}, Y)
    with pytest.raises(ValueError, match=rf"with 000.hidden \(Dense\){ends}"):
        network(several)


@pytest.mark.parametrize("size", [1.0, 1.2345e-5, -12345.0])
def test_no_label_covers_another_one_or_a_unit(size):
    """However long the numbers are."""
    given = scene()
    rows = [row._replace(delta=row.delta * size) for row in given.passes.layers]
    grads = [grad * size for grad in given.passes.grads]
    figure = network(
        scene(passes=given.passes._replace(layers=rows, grads=grads))
    )
    figure.draw_without_rendering()
    artists = [*figure.axes[0].texts, *figure.axes[0].patches]
    labels = [
        one for one in figure.axes[0].texts if one.get_text().startswith("w ")
    ]
    assert len(labels) == 9
    for label in labels:
        extent = label.get_window_extent()
        covered = [
            one
            for one in artists
            if one is not label and extent.overlaps(one.get_window_extent())
        ]
        assert not covered, label.get_text()
