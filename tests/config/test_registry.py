"""Every name of the catalogue, read without Keras and then built with it."""

from __future__ import annotations

import subprocess
import sys

import keras
import pytest

from tftrain.config import arguments, registry
from tftrain.config.component import Component, instantiate
from tftrain.config.conversion import fits
from tftrain.config.field_types import part_kind
from tftrain.config.signature import OPAQUE_DEFAULT, REQUIRED
from tftrain.runtime.errors import ImportPathError

NAMED = [
    (kind, name, target)
    for kind in registry.COMPONENT_KINDS
    for name, target in registry.names_of_kind(kind).items()
]
MET_BY_KERAS = (
    "optimizer",
    "schedule",
    "loss",
    "metric",
    "activation",
    "initializer",
    "regularizer",
    "constraint",
)
HOUSE = {"classes": 3, "outputs": 3, "one_hot": False, "from_logits": True}

# What parts that need arguments are given here.
PLAUSIBLE = {
    **{
        "initial_learning_rate": 0.1,
        "decay_steps": "1 epoch",
        "decay_rate": 0.5,
        "first_decay_steps": 5,
    },
    **{"boundaries": [5], "values": [0.1, 0.2], "steps": 3, "then": 0.1},
    **{
        "num_classes": 3,
        "target_class_ids": [0],
        "threshold": 0.5,
        "default_value": 0.0,
    },
    **{"recall": 0.5, "precision": 0.5, "sensitivity": 0.5, "specificity": 0.5},
}


def test_the_shelves_are_full():
    least = {
        "model": 3,
        "data": 6,
        "optimizer": 10,
        "loss": 20,
        "metric": 35,
        "activation": 25,
        "initializer": 15,
        "layer": 100,
    }
    assert {
        kind: len(registry.names_of_kind(kind)) >= count
        for kind, count in least.items()
    } == dict.fromkeys(least, True)


@pytest.mark.parametrize(
    ("kind", "name", "target"),
    NAMED,
    ids=[f"{kind}-{name}" for kind, name, _ in NAMED],
)
def test_every_name_is_found_and_its_defaults_fit(kind, name, target):
    assert registry.find(kind, name) == (name, target)
    for one in arguments.arguments_of(kind, target).given.values():
        if (
            one.default not in (REQUIRED, OPAQUE_DEFAULT)
            and not isinstance(one.default, list)
            and not part_kind(one.hint)
        ):
            assert fits(one.default, one.hint) or isinstance(
                one.default, dict
            ), one


@pytest.mark.parametrize(
    ("kind", "written", "listed"),
    [
        ("optimizer", "AdamW", "adamw"),
        ("optimizer", "adam_w", "adamw"),
        ("optimizer", "RMSprop", "rmsprop"),
        ("loss", "mse", "mean_squared_error"),
        (
            "loss",
            "SparseCategoricalCrossentropy",
            "sparse_categorical_crossentropy",
        ),
        ("metric", "acc", "accuracy"),
        ("metric", "AUC", "auc"),
        ("activation", "ReLU", "relu"),
        ("initializer", "HeNormal", "he_normal"),
        ("schedule", "CosineDecay", "cosine_decay"),
        ("layer", "Conv2D", "conv2d"),
        ("layer", "max_pool2d", "max_pooling2d"),
        ("initializer", "uniform", "random_uniform"),
        ("activation", "Swish", "silu"),
        ("layer", "GroupQueryAttention", "group_query_attention"),
    ],
)
def test_other_spellings(kind, written, listed):
    assert registry.find(kind, written) == (
        listed,
        registry.names_of_kind(kind)[listed],
    )


def test_every_second_name_of_keras_is_one_of_those_listed():
    for kind in registry.COMPONENT_KINDS:
        for alias, listed in registry._aliases(kind).items():
            assert registry.find(kind, alias) == (
                listed,
                registry.names_of_kind(kind)[listed],
            )


def example(kind, name, target):
    known = arguments.arguments_of(kind, target).given
    needed = {
        name: PLAUSIBLE[name]
        for name, one in known.items()
        if one.default is REQUIRED
    }
    if kind == "loss" and "from_logits" in known:
        needed["from_logits"] = True
    return Component(kind, name, target, needed).with_steps(steps_per_epoch=10)


@pytest.mark.parametrize("kind", MET_BY_KERAS)
def test_keras_takes_every_default(kind):
    for name, target in registry.names_of_kind(kind).items():
        part = example(kind, name, target)
        if kind in ("optimizer", "schedule", "loss", "metric"):
            part.build(**HOUSE)
        else:
            made = getattr(keras, f"{kind}s").get(instantiate(part))
            assert callable(made), name


def test_every_initializer_gives_its_shape():
    for name, target in registry.names_of_kind("initializer").items():
        made = keras.initializers.get(
            instantiate(example("initializer", name, target))
        )
        shape = (4, 1, 3) if name == "stft" else (3, 3)
        assert made(shape).shape == shape, name


def test_every_activation_keeps_the_shape():
    for name, target in registry.names_of_kind("activation").items():
        made = keras.activations.get(
            instantiate(example("activation", name, target))
        )
        kept = (2, 4) if name != "glu" else (2, 2)
        assert made(keras.ops.ones((2, 4))).shape == kept, name


def test_every_optimizer_makes_a_step():
    for name, target in registry.names_of_kind("optimizer").items():
        if name == "muon" and keras.__version__ < "3.13":
            continue  # which fails there on every variable of TensorFlow
        variable = keras.Variable([[1.0, 2.0], [3.0, 4.0]])
        Component(
            "optimizer", name, target, {"learning_rate": 0.1}
        ).build().apply([keras.ops.ones((2, 2))], [variable])
        assert not (
            keras.ops.convert_to_numpy(variable) == [[1, 2], [3, 4]]
        ).all(), name


def test_at_rate_zero_only_ftrl_moves_what_it_should_not():
    moved = set()
    for name, target in registry.names_of_kind("optimizer").items():
        if name == "muon" and keras.__version__ < "3.13":
            continue
        variable = keras.Variable([[1.0, -2.0], [0.5, 0.0]])
        optimizer = Component(
            "optimizer", name, target, {"learning_rate": 0.0}
        ).build()
        for _ in range(3):
            optimizer.apply([keras.ops.ones((2, 2))], [variable])
        if not (
            keras.ops.convert_to_numpy(variable) == [[1, -2], [0.5, 0]]
        ).all():
            moved.add(name)
    assert moved == {"ftrl"}, "which divides by its rate, and is refused there"


def test_reading_the_catalogue_does_not_import_keras():
    code = """
import sys
from tftrain.config import arguments, registry
for kind in registry.COMPONENT_KINDS:
    for target in registry.names_of_kind(kind).values():
        arguments.arguments_of(kind, target)
sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_dotted_path_stands_for_itself():
    assert registry.find("optimizer", "keras.optimizers.Adam") == (
        "keras.optimizers:Adam",
        "keras.optimizers:Adam",
    )


def test_an_unknown_name_is_told_with_the_nearest_or_with_some():
    with pytest.raises(
        ImportPathError,
        match="^there is no optimizer 'adm'; did you mean 'adam'?",
    ):
        registry.find("optimizer", "adm")
    with pytest.raises(ImportPathError) as caught:
        registry.find("layer", "zzzzz")
    assert len(
        str(caught.value)
    ) < 400 and "more (python -m tftrain list layer)" in str(caught.value)
