"""The error of differences: its order, what rounding adds, and where there is nothing to compare."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tftrain.reporting.plots.difference_error import (
    _STEPS,
    difference_error,
    difference_errors,
)

PARAMS = [np.array([[0.3, -0.7], [1.1, 0.2]]), np.array([0.5])]


def scene(dtype=np.float64, params=PARAMS, grads=None):
    """The loss is the sum of exp(w), whose gradient is exp(w)."""
    params = [param.astype(dtype) for param in params]
    grads = [np.exp(param) for param in params] if grads is None else grads

    def loss(values):
        return float(sum(np.exp(value).sum() for value in values))

    return SimpleNamespace(
        step=5, params=params, passes=SimpleNamespace(grads=grads), loss=loss
    )


def test_the_errors_are_of_second_and_of_first_order():
    errors = difference_errors(scene(), samples=20)
    right = slice(
        2, 6
    )  # steps of 1/16 to 1/1024, where rounding does not show yet
    for name, order in (("central", 2), ("one-sided", 1)):
        ratios = errors[name][right][:-1] / errors[name][right][1:]
        np.testing.assert_allclose(ratios, 4**order, rtol=0.05)
    # exp(w) (sinh(h) / h - 1) and exp(w) ((exp(h) - 1) / h - 1) for h = 1/16
    assert errors["central"][2] == pytest.approx(
        np.sinh(1 / 16) * 16 - 1, rel=1e-6
    )
    assert errors["one-sided"][2] == pytest.approx(
        np.expm1(1 / 16) * 16 - 1, rel=1e-6
    )


def test_rounding_makes_small_steps_worse():
    def rounded(values):
        return float(np.float32(sum(np.exp(value).sum() for value in values)))

    given = scene(np.float32)
    given.loss = rounded
    errors = difference_errors(given, samples=5)
    for name in ("central", "one-sided"):
        assert errors[name][-1] > 100 * np.nanmin(errors[name])
    [axes] = difference_error(given).axes
    labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert [label.partition(":")[0] for label in labels] == [
        "central",
        "one-sided",
    ]
    least = np.nanargmin(errors["central"])
    assert (
        f"at {_STEPS[least]:.3g}" in labels[0]
        and axes.get_xscale() == axes.get_yscale() == "log"
    )


def test_what_the_loss_does_not_reach_is_left_out():
    bent = scene(grads=[np.exp(PARAMS[0]), None])
    assert difference_errors(bent, samples=9)["central"][3] < 1e-3
    assert difference_error(scene(grads=[None, None])) is None
    assert (
        difference_error(scene(grads=[np.zeros((2, 2)), np.array([np.nan])]))
        is None
    )
    with pytest.raises(ValueError, match="sparse gradients"):
        difference_errors(scene(grads=[np.ones((1, 2)), np.ones(1)]), samples=3)
