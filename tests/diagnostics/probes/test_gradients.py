import numpy as np
import pytest

from tftrain.diagnostics.probes.gradient_stats import gradient_counts
from tftrain.diagnostics.probes.histograms import histograms


def test_zeros_and_what_is_not_finite_by_hand(shelf):
    raw = {
        "a": [0.0, -0.0, 1e-40, 2.0],
        "b": [np.nan, np.inf, -np.inf, -np.nan, 3.0, 5.0],
        "c": np.zeros((0, 2)),
    }
    scalars = shelf.signals_of(gradient_counts(), raw=raw).scalars
    assert {
        name: value for name, value in scalars.items() if "absgrad" not in name
    } == {
        "zero_grads/a": 0.75,
        "zero_grads/b": 0,
        "zero_grads/c": 0,
        "zero_grad_fraction": 0.3,
        "nonfinite_grads/b": 4,
        "nonfinite_grads": 4,
    }


def test_against_numpy(shelf):
    random = np.random.default_rng(0)
    raw = {
        name: random.normal(size=size) * random.integers(0, 2, size)
        for name, size in [("a", (20, 30)), ("b", 50)]
    }
    scalars = shelf.signals_of(gradient_counts(), raw=raw).scalars
    for name, grad in raw.items():
        assert scalars[f"zero_grads/{name}"] == pytest.approx(
            np.mean(grad == 0)
        )
    assert scalars["zero_grad_fraction"] == pytest.approx(
        np.mean(np.concatenate([g.ravel() for g in raw.values()]) == 0)
    )
    assert (
        scalars["nonfinite_grads"] == 0 and "nonfinite_grads/a" not in scalars
    )


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_percentiles_are_within_a_twentieth_of_a_decade(shelf, spread):
    random = np.random.default_rng(1)
    raw = {
        name: 10 ** random.normal(-8, spread, size)
        for name, size in [("a", (200, 30)), ("b", 500), ("c", 9000)]
    }
    raw["a"][:50], raw["b"][:3] = 0, [np.nan, np.inf, -np.inf]
    found = shelf.signals_of(gradient_counts(), raw=raw).scalars
    numbers = np.abs(np.concatenate([grad.ravel() for grad in raw.values()]))
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    exact = np.log10(np.percentile(numbers, [5, 50, 95]))
    shown = np.log10(
        [found[f"absgrad_p{percent}"] for percent in ("05", "50", "95")]
    )
    np.testing.assert_allclose(
        shown, exact, atol=0.05
    )  # the least bucket is 0.12 decades wide, the other 0.18


def test_percentiles_of_one_number_and_of_none(shelf):
    found = shelf.signals_of(
        gradient_counts(), raw={"a": np.full(7, 0.5)}
    ).scalars
    assert (
        0.5
        <= found["absgrad_p05"]
        <= found["absgrad_p50"]
        <= found["absgrad_p95"]
        <= 0.75
    )
    assert (
        "absgrad_p50"
        not in shelf.signals_of(
            gradient_counts(), raw={"a": np.zeros(3)}
        ).scalars
    )


def test_rows_that_a_sparse_gradient_does_not_have_are_zeros(shelf):
    grads = {"table": shelf.sparse([7, 2], [[1, 0], [2, np.nan]], [10, 2])}
    scalars = shelf.signals_of(
        gradient_counts(), raw=grads, params={"table": np.ones((10, 2))}
    ).scalars
    assert (
        scalars["zero_grads/table"] == 17 / 20
        and scalars["nonfinite_grads/table"] == 1
    )


def test_parameters_of_one_shape_keep_their_names(shelf):
    shapes = {
        "a": (3, 2),
        "b": (2,),
        "c": (3, 2),
        "d": (200, 100),
        "e": (2,),
        "f": (3, 2),
        "g": (),
    }
    raw = {
        name: np.full(shape, 1.25 * 2.0**place)
        for place, (name, shape) in enumerate(shapes.items())
    }
    raw["c"][0, 0], raw["d"][:50], raw["e"][0] = np.nan, 0, 0
    found = shelf.signals_of(gradient_counts(log10_histograms=True), raw=raw)
    assert {
        name: value
        for name, value in found.scalars.items()
        if value and "/" in name
    } == {
        "nonfinite_grads/c": 1,
        "zero_grads/d": 0.25,
        "zero_grads/e": 0.5,
    }
    alone = shelf.signals_of(
        histograms("gradients", "log10"), raw=raw
    ).histograms
    assert (
        found.histograms.keys()
        == alone.keys()
        == {f"gradients/{name}" for name in shapes}
    )
    for place, name in enumerate(shapes):
        count = np.sum(np.isfinite(raw[name]) & (raw[name] != 0))
        expected = [
            [place * np.log10(2), place * np.log10(2) + np.log10(1.5), count]
        ]
        np.testing.assert_allclose(
            found.histograms[f"gradients/{name}"], expected, rtol=1e-6
        )  # float32 rows
        np.testing.assert_array_equal(
            found.histograms[f"gradients/{name}"], alone[f"gradients/{name}"]
        )


def test_without_parameters_there_is_nothing_wrong(shelf):
    found = shelf.signals_of(gradient_counts(log10_histograms=True), raw={})
    assert (
        found.scalars == {"zero_grad_fraction": 0, "nonfinite_grads": 0}
        and found.histograms == {}
    )
