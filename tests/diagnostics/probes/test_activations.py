import numpy as np
import pytest

from tftrain.diagnostics.probes.activation_stats import activation_stats


def twin(function, values):
    """The signals of one layer, from their definitions."""
    values = values.astype(np.float64)
    found = {"activation_mean": values.mean(), "activation_std": values.std()}
    if function in ("relu", "relu6"):
        dead = [
            not np.any(values[..., unit]) for unit in range(values.shape[-1])
        ]
        found |= {
            "zero_activations": np.mean(values == 0),
            "dead_units": np.mean(dead),
        }
    if function in ("sigmoid", "hard_sigmoid"):
        found["saturated"] = np.mean((values < 0.05) | (values > 0.95))
    if function in ("tanh", "softsign"):
        found["saturated"] = np.mean(np.abs(values) > 0.95)
    return found


@pytest.mark.parametrize(
    "function",
    [
        "relu",
        "relu6",
        "leaky_relu",
        "gelu",
        "sigmoid",
        "hard_sigmoid",
        "tanh",
        "snake",
    ],
)
@pytest.mark.parametrize(
    "shape", [(6, 10), (4, 3, 3, 8)], ids=["dense", "conv"]
)
def test_against_numpy(shelf, function, shape):
    values = 2 * np.random.default_rng(0).normal(size=shape).astype(np.float32)
    squash = {
        "relu": lambda x: np.maximum(x - 2, 0),
        "relu6": lambda x: np.clip(x - 2, 0, 6),
        "sigmoid": lambda x: 1 / (1 + np.exp(-2 * x)),
        "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
        "tanh": np.tanh,
    }
    values = squash.get(function, lambda x: x)(values)
    values[..., 1] = 0
    scalars = shelf.signals_of(
        activation_stats(), activations={"000.hidden": (function, values)}
    ).scalars
    expected = {
        f"{kind}/000.hidden": value
        for kind, value in twin(function, values).items()
    }
    assert scalars == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )  # means in float32
    if function in ("relu", "relu6", "sigmoid", "tanh"):
        assert all(
            0 < value < 1
            for name, value in scalars.items()
            if name.startswith(("dead", "sat", "zero"))
        )


def test_by_hand_for_each_layer(shelf):
    layers = {
        "a": ("relu", np.float32([[0, 1], [0, 3]])),
        "b": ("tanh", np.float16([[0.96875, -0.96875, 0.5, 0]])),
    }
    scalars = shelf.signals_of(activation_stats(), activations=layers).scalars
    assert (
        scalars["dead_units/a"] == 0.5 and scalars["zero_activations/a"] == 0.5
    )
    assert scalars["activation_mean/a"] == 1 and scalars["saturated/b"] == 0.5
    assert {name for name in scalars if name.endswith("b")} == {
        f"{n}/b" for n in "activation_mean activation_std saturated".split()
    }


def test_layers_of_all_kinds_keep_their_names(shelf):
    random, functions = (
        np.random.default_rng(0),
        ["gelu", "relu", "tanh", "relu6", "sigmoid", "relu"],
    )
    layers = {
        f"{place:03d}.layer": (
            function,
            np.maximum(
                random.normal(size=(3 + place, 2 + place)), -place
            ).astype("f4"),
        )
        for place, function in enumerate(functions)
    }
    layers["005.layer"][1][:, 1] = 0
    expected = {
        f"{kind}/{name}": value
        for name, layer in layers.items()
        for kind, value in twin(*layer).items()
    }
    scalars = shelf.signals_of(activation_stats(), activations=layers).scalars
    assert scalars == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )  # means in float32


def test_a_model_without_activations_has_no_signals(shelf):
    assert shelf.signals_of(activation_stats(), activations={}).scalars == {}
