"""What the parameters of a layer come to together, held to the numbers themselves."""

import numpy as np
import pytest

from tftrain.reporting.tensorboard.protocol import NONE, OF_LAYERS, TENSORS
from tftrain.reporting.tensorboard_plugin.quantities import (
    QUANTITIES,
    read_columns,
)


@pytest.fixture(scope="module")
def layer():
    """A kernel, a bias and a scale, their gradients before and after clipping, and their updates; over 3 points."""
    draw = np.random.default_rng(0)
    shapes = [(5, 3), (3,), (3,)]

    def arrays():
        return [
            [
                draw.normal(size=shape) * (draw.random(shape) > 0.3)
                for shape in shapes
            ]
            for _ in range(3)
        ]

    return {
        name: arrays()
        for name in ("weights", "gradients", "clipped", "updates")
    }


def norms(points):
    """[parameters, points]"""
    return np.array(
        [[np.linalg.norm(one) for one in point] for point in points]
    ).T


def together(points):
    """[points]: the norm of all parameters as one vector."""
    return np.array(
        [
            np.linalg.norm(np.concatenate([one.ravel() for one in point]))
            for point in points
        ]
    )


SIZES = np.array([[15.0], [3.0], [3.0]])


def test_norms_and_ratios_are_those_of_all_parameters_as_one_vector(layer):
    combined = QUANTITIES["grad_norm"].combine(norms(layer["gradients"]), SIZES)
    np.testing.assert_allclose(
        combined, together(layer["gradients"]), rtol=1e-12
    )
    weights, updates = norms(layer["weights"]), norms(layer["updates"])
    ratio = QUANTITIES["update_ratio"].combine(
        updates / weights, weights, SIZES
    )
    np.testing.assert_allclose(
        ratio,
        together(layer["updates"]) / together(layer["weights"]),
        rtol=1e-12,
    )
    factor = QUANTITIES["clip_factor"].combine(
        norms(layer["gradients"]), norms(layer["clipped"]), SIZES
    )
    np.testing.assert_allclose(
        factor,
        together(layer["clipped"]) / together(layer["gradients"]),
        rtol=1e-12,
    )


def test_a_share_is_that_of_all_numbers(layer):
    shares = np.array(
        [[np.mean(one == 0) for one in point] for point in layer["gradients"]]
    ).T
    expected = [
        np.mean(np.concatenate([one.ravel() for one in point]) == 0)
        for point in layer["gradients"]
    ]
    np.testing.assert_allclose(
        QUANTITIES["zero_grads"].combine(shares, SIZES), expected, rtol=1e-12
    )


@pytest.mark.parametrize("name", [*QUANTITIES])
def test_what_is_not_known_stays_unknown_and_what_is_not_finite_shows(name):
    quantity, size = QUANTITIES[name], np.array([[2.0], [3.0]])
    absent, broken = np.full((2, 1), NONE), np.array([[np.nan], [1.0]])
    with np.errstate(all="ignore"):
        assert quantity.combine(
            *[absent] * len(quantity.inputs), size
        ).tolist() == [NONE]
        assert np.isnan(
            quantity.combine(*[broken] * len(quantity.inputs), size)
        ).all()


def test_a_parameter_that_is_not_measured_does_not_count():
    half = np.array([[0.5], [NONE]])
    assert QUANTITIES["grad_norm"].combine(half, SIZES[:2]).tolist() == [0.5]
    assert QUANTITIES["update_ratio"].combine(
        half, np.array([[4.0], [0.0]]), SIZES[:2]
    ).tolist() == [0.5]
    assert QUANTITIES["zero_grads"].combine(half, SIZES[:2]).tolist() == [0.5]


def test_a_gradient_of_nothing_is_not_clipped():
    zero = np.zeros((2, 1))
    with np.errstate(all="ignore"):
        assert QUANTITIES["clip_factor"].combine(
            zero, zero, SIZES[:2]
        ).tolist() == [1.0]


def test_a_run_from_before_a_column_was_added_lacks_that_alone():
    tables = [np.array([[1.0, 2.0, 0.25, 0.5]])] * 2
    assert read_columns(QUANTITIES["dead_units"], tables)[0].tolist() == [
        [0.5, 0.5]
    ]
    assert read_columns(QUANTITIES["saturated"], tables)[0].tolist() == [
        [NONE, NONE]
    ]


def test_every_number_that_is_logged_can_be_shown():
    shown = {
        name for quantity in QUANTITIES.values() for name in quantity.inputs
    }
    assert shown == {name for columns in TENSORS.values() for name in columns}
    assert set(OF_LAYERS) <= QUANTITIES.keys()
