from __future__ import annotations

import random
from pathlib import Path

import pytest

import tftrain
from tftrain.config import arguments, registry
from tftrain.config.component import Component
from tftrain.config.export import config_diff, flat_hparams, to_yaml
from tftrain.config.field_types import part_kind
from tftrain.config.signature import REQUIRED

CONFIGS = sorted(
    (Path(__file__).parent.parent.parent / "configs").glob("*.yaml")
)

# For each section some values, of which the seeded choices take one.
VALUES = {
    "model": [
        "cnn",
        "{name: mlp, hidden: [], activation: {name: leaky_relu, negative_slope: 0.3}, dropout: 0}",
        "{name: mlp, kernel_initializer: {name: he_normal, seed: 3}, batch_norm: true}",
        "{name: sequential, layers: [flatten, {name: dense, units: 3, kernel_regularizer: {name: l2, l2: 1e-4}}]}",
        "{name: 'mine:typed', width: 3, table: {a: 1}, anything: [1, {b: null}], label: 'no'}",
        "{name: 'mine:odd_defaults'}",
        "{name: 'live:Record', units: 3}",
    ],
    "data": [
        "{name: digits, preprocess: [{name: scale, by: 0.5}, {name: pad, height: 9, width: 9}], validation: 0.1}",
        "{name: tfds, dataset: 'mnist:3.*.*', validation: 'train[:5%]', test: [test, extra], batch_size: full}",
        "{name: xor, shuffle: false, split_seed: 4294967295}",
    ],
    "loss": [
        "auto",
        "mse",
        "{name: huber, delta: 2}",
        "'mine:loss'",
        "{name: binary_crossentropy, label_smoothing: 0.1}",
    ],
    "metrics": [
        "auto",
        "[]",
        "auc",
        "[auc, {name: precision, thresholds: 0.3}, 'mine:loss']",
    ],
    "optimizer": [
        "{name: sgd, learning_rate: 1e-30, momentum: 1}",
        "{name: adamw, learning_rate: {name: warmup, steps: 1 epoch, then: {name: cosine_decay, "
        "initial_learning_rate: 1e+2, decay_steps: 3}}}",
        "muon",
    ],
    "gradients": [
        "{}",
        "{clip: [{name: value, limit: 1e-5}, {name: norm, limit: 3}]}",
    ],
    "training": [
        "{}",
        "{steps: 7, early_stopping: {monitor: grad_norm, mode: min}, validate_every: 0.5 epochs}",
    ],
    "log": [
        "{}",
        "{scalars: 3, histograms: [], histograms_every: never, console: 2 epochs, graph: false}",
    ],
    "checkpoint": ["{}", "{every: never, best: null, max_to_keep: 1}"],
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_example_dumped_is_read_back_the_same(path, tmp_path):
    found = tftrain.load(path)
    (tmp_path / path.name).write_text(to_yaml(found), encoding="utf-8")
    again = tftrain.load(tmp_path / path.name)
    assert to_yaml(again) == to_yaml(found) and config_diff(found, again) == []


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_chosen_is_read_back_the_same(desk, seed):
    choice = random.Random(seed).choice
    text = "".join(
        f"{section}: {choice(values)}\n" for section, values in VALUES.items()
    )
    found = desk.load(text)
    again = desk.load(to_yaml(found))
    assert to_yaml(again) == to_yaml(found) and config_diff(found, again) == []
    assert desk.load(to_yaml(again)) == again, (
        "with every default given, nothing is left to differ"
    )


def test_every_default_is_in_it(desk):
    text = to_yaml(desk.load(desk.good))
    for line in (
        "hidden: [128, 64]",
        "batch_size: 32",
        "loss: auto",
        "beta_1: 0.9",
        "method: backprop",
        "max_to_keep: 2",
    ):
        assert line in text


NETWORK = "sequential, layers: [{name: embedding, input_dim: 9, output_dim: 2}, flatten, {name: dense, units: 32}]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("optimizer: adam", "optimizer: {name: Adam, learning_rate: 1e-3}"),
        ("loss: mse", "loss: MeanSquaredError"),
        (
            f"model: {{name: {NETWORK}}}",
            f"model: {{name: {NETWORK}}}".replace(
                "9,", "9, embeddings_initializer: uniform,"
            ),
        ),
        (
            "model: {name: mlp, activation: swish}",
            "model: {name: mlp, activation: silu}",
        ),
        (
            "model: {name: mlp, kernel_initializer: uniform}",
            "model: {name: mlp, kernel_initializer: RandomUniform}",
        ),
        (
            "model: {name: sequential, layers: [max_pool2d]}",
            "model: {name: sequential, layers: [MaxPooling2D]}",
        ),
        (
            "model: {name: 'live:layered'}",
            "model: {name: 'live:layered', activations: [silu, relu]}",
        ),
    ],
)
def test_two_ways_to_say_the_same_do_not_differ(desk, one, other):
    desk.write(desk.good, "base.yaml")
    before, after = (
        desk.load(f"base: base.yaml\n{text}\n") for text in (one, other)
    )
    assert config_diff(before, after) == []
    assert (
        config_diff(desk.load(to_yaml(before)), after)
        == []
        == config_diff(desk.load(to_yaml(after)), before)
    )


@pytest.mark.parametrize("kind", registry.COMPONENT_KINDS)
def test_every_part_is_read_back_as_it_was(kind):
    for name, target in registry.names_of_kind(kind).items():
        known = arguments.arguments_of(kind, target).given
        part = Component(
            kind,
            name,
            target,
            {name: 1 for name, one in known.items() if one.default is REQUIRED},
        )
        for key, value in part.plain().items() if known else ():
            if (
                key in known
                and isinstance(value, str)
                and part_kind(known[key].hint)
            ):
                assert (
                    registry.find(part_kind(known[key].hint), value)[0] == value
                ), (
                    name,
                    key,
                )


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (
            NETWORK,
            NETWORK.replace("32", "64"),
            ["model.layers.2.units: 32 -> 64"],
        ),
        (
            "mlp, hidden: [8, 4]",
            "mlp, hidden: [8, 5, 3]",
            ["model.hidden.1: 4 -> 5", "model.hidden.2: not there -> 3"],
        ),
        (
            "mlp, hidden: [8]",
            "mlp, hidden: []",
            ["model.hidden.0: 8 -> not there"],
        ),
        (
            "mlp, activation: relu",
            "mlp, activation: {name: leaky_relu, negative_slope: 0.5}",
            [
                "model.activation.name: relu -> leaky_relu",
                "model.activation.negative_slope: not there -> 0.5",
            ],
        ),
        (
            "sequential, layers: [flatten]",
            "sequential, layers: [flatten, {name: rescaling, scale: 2}]",
            [
                "model.layers.1.name: not there -> rescaling",
                "model.layers.1.scale: not there -> 2",
                "model.layers.1.offset: not there -> 0.0",
            ],
        ),
        (
            "'mine:typed', width: 3, anything: {a: 1}",
            "'mine:typed', width: 3, anything: {a: {}, b: []}",
            ["model.anything.a: 1 -> {}", "model.anything.b: not there -> []"],
        ),
    ],
)
def test_only_the_value_that_differs_is_told(desk, one, other, told):
    before, after = (
        desk.load(desk.good.replace("mlp", f"{{name: {text}}}"))
        for text in (one, other)
    )
    assert config_diff(before, after) == told


def test_where_two_configs_differ(desk):
    before, after = (
        desk.load(desk.good),
        desk.load(desk.good, "training.epochs=3", "optimizer={name: sgd}"),
    )
    told = config_diff(before, after)
    assert (
        "training.epochs: 10 -> 3" in told
        and "optimizer.name: adam -> sgd" in told
    )
    assert (
        "optimizer.beta_1: 0.9 -> not there" in told
        and "optimizer.momentum: not there -> 0.0" in told
    )
    assert config_diff(before, before) == []


def test_settings_are_the_leaves_under_their_key_paths(tmp_path):
    (tmp_path / "a.yaml").write_text(
        """
model: {name: mlp, hidden: [4, 5]}
data: {name: iris, preprocess: [standardize, {name: scale, by: 2}]}
optimizer:
  name: adam
  learning_rate: {name: exponential_decay, initial_learning_rate: 0.1, decay_steps: 2 epochs, decay_rate: 0.5}
gradients: {clip: {name: value, limit: 1}}
"""
    )
    found = flat_hparams(tftrain.load(tmp_path / "a.yaml"))
    assert (
        found["model"] == "mlp"
        and found["model.hidden"] == "4, 5"
        and found["data.shuffle"] is True
    )
    assert found["data.preprocess"] == "standardize, scale"
    assert (
        found["data.preprocess.0"] == "standardize"
        and found["data.preprocess.1.by"] == 2
    )
    assert found["optimizer.learning_rate"] == "exponential_decay"
    assert found["optimizer.learning_rate.decay_steps"] == "2 epochs"
    assert (
        found["gradients.clip"] == "value"
        and found["gradients.clip.limit"] == 1
    )
    assert found["training.ema"] == "none" and found["metrics"] == "auto"
    assert not any(name.startswith(("log", "checkpoint")) for name in found)
