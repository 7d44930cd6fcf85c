"""What a model brings with it that a run takes no notice of, or that nobody prepared."""

from __future__ import annotations

import pytest

from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

TEXT = """
data: {name: "scored:flat", batch_size: 20}
optimizer: sgd
training: {steps: 1}
"""


def model(name, **arguments):
    given = "".join(f", {key}: {value}" for key, value in arguments.items())
    return f"model: {{name: 'scored:{name}'{given}}}\n{TEXT}"


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("WithTrainStep", "train_step"),
        ("WithTestStep", "test_step"),
        ("WithLoss", "compute_loss"),
    ]
    + [
        ("WithMetrics", "compute_metrics"),
        ("with_mixin", "train_step"),
        ("with_own_method", "compute_loss"),
    ],
)
def test_training_of_its_own_is_refused(desk, name, method):
    with pytest.raises(
        InputError,
        match=rf"config.yaml:1:15: model: scored:{name} has a {method} of its own",
    ):
        build_run(desk.load(model(name)))


def test_a_compiled_loss_is_refused(desk):
    with pytest.raises(
        InputError,
        match="model that was compiled with a loss .* leave compile out",
    ):
        build_run(desk.load(model("compiled")))


def test_compiled_metrics_are_told(desk, recwarn):
    build_run(desk.load(model("compiled", loss="false")))
    assert any(
        "compiled with optimizer, metrics, which are not" in str(one.message)
        for one in recwarn
    )


def test_a_compiled_model_from_a_file_goes_on(desk, recwarn, tmp_path):
    import scored

    scored.compiled().save(tmp_path / "model.keras")
    run = build_run(
        desk.load(
            f"model: {{name: saved, path: '{tmp_path}/model.keras'}}\n{TEXT}"
        )
    )
    assert run.total_steps == 1
    assert any(
        "compiled with loss, optimizer, which are not" in str(one.message)
        for one in recwarn
    )


@pytest.mark.parametrize("text", [model("Stepping"), model("linear")])
def test_other_models_are_not(desk, text, recwarn):
    build_run(desk.load(text))
    assert not [one for one in recwarn if "compiled" in str(one.message)]


IN_YAML = "model: {name: sequential, layers: [{name: normalization}, {name: dense, units: 1}]}\n"


@pytest.mark.parametrize(
    "text",
    [
        IN_YAML + TEXT,
        model("normalizing"),
        model("normalizing", inner="true"),
        model("Normalizing"),
    ]
    + [
        model("looking_up", kind="discretization"),
        model("looking_up", kind="words"),
    ],
)
def test_layers_that_nobody_adapted_are_refused(desk, text):
    with pytest.raises(
        InputError, match="model: its layer '.*' .* was never adapted.*adapt"
    ):
        build_run(desk.load(text))


@pytest.mark.parametrize("how", ["adapted", "given"])
def test_layers_that_know_what_they_need_are_not(desk, how):
    assert build_run(
        desk.load(model("normalizing", how=how))
    ).objective.model.built


@pytest.mark.parametrize(
    "names",
    [
        {"layer": "'50% [x]'"},
        {"model": "'a b'"},
        {"layer": "größe"},
        {"model": "_x"},
    ],
)
def test_names_that_tensorflow_does_not_take(desk, names):
    with pytest.raises(
        InputError,
        match="model: its (model|layer .*) has the name '.*', which TensorFlow does not take",
    ):
        build_run(desk.load(model("named", **names)))
