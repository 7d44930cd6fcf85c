from __future__ import annotations

import keras
import pytest

from tftrain.config.component import (
    Component,
    instantiate,
    plain,
    user_components,
)
from tftrain.config.keras_objects import ConfiguredFunction


def test_every_argument_has_its_value(desk):
    found = desk.load(
        desk.good, "model={name: 'mine:typed', width: 3, bias: false}"
    ).model
    assert found.given == {"width": 3, "bias": False}
    assert (
        found.arguments["rate"] == 0.5
        and found.arguments["width"] == 3
        and "outputs" not in found.arguments
    )


def test_a_default_that_nobody_can_write_is_left_to_the_part(desk):
    assert desk.load(
        desk.good, "model={name: 'live:Record', units: 3}"
    ).model.arguments == {"units": 3, "rate": 0.5}


def test_as_yaml_would_say_it(desk):
    found = desk.load(
        desk.good,
        "optimizer={name: sgd, learning_rate: {name: warmup, steps: 5, then: 0.1}}",
    )
    assert plain(found.optimizer)["learning_rate"] == {
        "name": "warmup",
        "steps": 5,
        "then": 0.1,
    }
    assert plain(found.loss) == "auto"


def test_stretches_become_steps_however_deep(desk):
    decay = "{name: cosine_decay, initial_learning_rate: 1, decay_steps: 0.5 epochs}"
    rate = f"{{name: warmup, steps: 2 epochs, then: {decay}}}"
    found = desk.load(
        desk.good, f"optimizer.learning_rate={rate}"
    ).optimizer.with_steps(40)
    assert found.given["learning_rate"].given["steps"] == 80
    assert found.given["learning_rate"].given["then"].given["decay_steps"] == 20


@pytest.mark.parametrize(
    ("kind", "name", "target", "given", "expected"),
    [
        ("activation", "relu", "keras.activations:relu", {}, "relu"),
        (
            "initializer",
            "he_normal",
            "keras.initializers:HeNormal",
            {},
            "HeNormal",
        ),
        (
            "activation",
            "leaky_relu",
            "keras.activations:leaky_relu",
            {"negative_slope": 0.1},
            ConfiguredFunction,
        ),
        (
            "initializer",
            "he_normal",
            "keras.initializers:HeNormal",
            {"seed": 3},
            keras.initializers.HeNormal,
        ),
        (
            "initializer",
            "constant",
            "keras.initializers:Constant",
            {},
            keras.initializers.Constant,
        ),
        (
            "regularizer",
            "l2",
            "keras.regularizers:L2",
            {"l2": 0.1},
            keras.regularizers.L2,
        ),
        (
            "activation",
            "live:scaled",
            "live:scaled",
            {"by": 3.0},
            ConfiguredFunction,
        ),
    ],
)
def test_what_keras_is_given(own_parts, kind, name, target, given, expected):
    found = instantiate(Component(kind, name, target, given))
    assert (
        found == expected
        if isinstance(expected, str)
        else isinstance(found, expected)
    )


def test_an_activation_with_arguments_uses_them(own_parts):
    assert (
        instantiate(
            Component(
                "activation",
                "live:scaled",
                "live:scaled",
                {"by": 3.0, "shift": 1.0},
            )
        )(2.0)
        == 7.0
    )


def test_the_house_gives_what_is_asked_for(own_parts):
    part = Component("model", "pack:small", "pack:small", {"width": 5})
    assert part.call_arguments(outputs=3, classes=9, input_shape=(1,)) == {
        "width": 5,
        "outputs": 3,
    }


def test_parts_of_the_user_s_are_found_however_deep(desk):
    own = "[{name: dense, units: 3, activation: 'live:half'}, {name: 'mine:Child', units: 3}]"
    found = desk.load(
        desk.good,
        f"model={{name: sequential, layers: {own}}}",
        "loss='mine:loss'",
    )
    assert [part.name for part in user_components(found)] == [
        "live:half",
        "mine:Child",
        "mine:loss",
    ]


def test_two_parts_are_equal_wherever_they_stand(desk):
    assert (
        desk.load(desk.good).model == desk.load("# first\n" + desk.good).model
    )


def test_an_option_of_the_kind_is_read_and_not_passed_on(desk):
    (found,) = desk.load(
        desk.good, "gradients.clip={name: layer_norm, limit: 1, only: kernel}"
    ).gradients.clip
    assert found.option("only") == "kernel"
    assert found.call_arguments(names=["a/kernel"]) == {
        "limit": 1.0,
        "names": ["a/kernel"],
    }
    (found,) = desk.load(
        desk.good, "gradients.clip={name: norm, limit: 1}"
    ).gradients.clip
    assert found.option("only") is None and plain(found) == {
        "name": "norm",
        "limit": 1.0,
        "only": None,
    }


def test_an_argument_of_that_name_is_passed_on(desk):
    (found,) = desk.load(
        desk.good, "gradients.clip={name: 'clips:choosy', only: 3}"
    ).gradients.clip
    assert found.option("only") is None and found.call_arguments() == {
        "only": 3
    }
