import numpy as np
import pytest

from tftrain.diagnostics.probes.histograms import histograms

A, B = np.array([[1.0, 4.0], [0.0, -2.0]]), np.array([0.5, 0.25])
LAYERS = {
    "000.hidden": ("relu", np.float32([[0, 1], [0, 3]])),
    "001.out": ("tanh", np.float32([[0, 0.5], [-0.5, 0]])),
}


@pytest.mark.parametrize(
    ("what", "given"),
    [("gradients", "raw"), ("weights", "params"), ("updates", "updates")],
)
def test_each_shows_its_own(shelf, what, given):
    signals = shelf.signals_of(
        histograms(what, "value"), **{given: {"a": A, "b": B}}
    )
    named = what if what == "weights" else f"{what}_value"
    assert signals.scalars == {} and list(signals.histograms) == [
        f"{named}/a",
        f"{named}/b",
    ]
    left, right, counts = signals.histograms[f"{named}/a"].T
    assert (left[0], right[-1], counts.sum()) == (-2, 4, 4)
    log10 = shelf.signals_of(
        histograms(what, "log10"), **{given: {"a": A, "b": B}}
    ).histograms
    np.testing.assert_array_equal(
        log10[f"{what}/a"][:, 2], [1, 0, 1, 0, 1]
    )  # the zero has no logarithm
    np.testing.assert_allclose(
        log10[f"{what}/b"][:, 0], np.log10([0.25, 0.375, 0.5]), atol=1e-7
    )


def test_activations_of_relus_are_shown_without_zeros(shelf):
    found = shelf.signals_of(
        histograms("activations", "value"), activations=LAYERS
    ).histograms
    assert [rows[:, 2].sum() for rows in found.values()] == [2, 4]
    assert (
        found["activations/000.hidden"][0, 0] == 1
        and found["activations/001.out"][0, 0] == -0.5
    )


def test_half_precision_is_counted_as_it_is(shelf):
    layers = {"000.hidden": ("relu", np.float16([[0, 1.5], [1.5, 3]]))}
    rows = shelf.signals_of(
        histograms("activations", "log10"), activations=layers
    ).histograms["activations/000.hidden"]
    np.testing.assert_array_equal(rows[:, 2], [2, 0, 1])


def test_a_sparse_gradient_shows_the_rows_that_it_has(shelf):
    grads = {"table": shelf.sparse([7, 2], [[1, 1], [2, 2]], [9, 2])}
    rows = shelf.signals_of(
        histograms("gradients", "log10"),
        raw=grads,
        params={"table": np.ones((9, 2))},
    )
    np.testing.assert_array_equal(
        rows.histograms["gradients/table"][:, 2], [2, 0, 2]
    )


@pytest.mark.parametrize(
    ("axis", "nothing"), [("log10", [0.0, 0.0]), ("value", [np.nan, np.inf])]
)
def test_histograms_of_nothing_are_left_out(shelf, axis, nothing):
    found = shelf.signals_of(
        histograms("gradients", axis),
        raw={"w": nothing, "none": np.zeros((0, 2)), "v": [1.0]},
    )
    assert [name.partition("/")[2] for name in found.histograms] == ["v"]
