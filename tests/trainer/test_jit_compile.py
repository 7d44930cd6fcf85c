"""Whole runs whose step is compiled by XLA, beside the same runs without."""

import numpy as np
import pytest

import tftrain
from tftrain.runtime.errors import InputError, TrainingError

# All that is measured or changes, but Dropout, which draws other numbers under XLA. Of 124 examples batches of 50 leave
# a short last one, which is step 3; steps 2 and 4 are measured.
ALL = """
model: {name: mlp, hidden: [8, 8], batch_norm: true}
data: {name: wine, batch_size: 50, validation: 0.2, test: 0.1, preprocess: [standardize, one_hot]}
metrics: [accuracy, auc]
optimizer: {name: adamw, learning_rate: {name: warmup, steps: 2, then: {name: backoff, steps: 2, then: 1e-2}}}
gradients:
  clip:
    - {name: value, limit: 0.2}
    - {name: norm, limit: 0.5}
    - {name: layer_norm, limit: 0.5}
    - {name: adaptive, ratio: 0.5}
    - {name: percentile, percent: 40, window: 6}
    - {name: global_norm, limit: 0.5}
  accumulate_steps: 3
training: {steps: 4, seed: 3, ema: 0.8}
log: {scalars: 1, histograms_every: 2, histograms: [gradients, weights, updates, activations], graph: false}
"""
SOME = """
model: {name: mlp, hidden: [8], dropout: 0.5}
data: {name: wine, batch_size: 50, preprocess: standardize}
optimizer: {name: sgd, learning_rate: 0.1}
training: {steps: 5}
log: {histograms_every: never, graph: false}
"""


@pytest.fixture
def both(tmp_path):
    """The same run without XLA and with it."""

    def train(text, *overrides):
        path = tmp_path / "jit.yaml"
        path.write_text(text)
        configs = [
            tftrain.load(path, [*overrides, f"training.jit_compile={word}"])
            for word in ("false", "true")
        ]
        return [
            tftrain.train(one, tmp_path / str(one.training.jit_compile))
            for one in configs
        ]

    return train


def assert_alike(plain, compiled, rtol, atol):
    """Weights and all that was logged, but the clock's."""
    for one, other in zip(
        plain.model.variables, compiled.model.variables, strict=True
    ):
        np.testing.assert_allclose(
            other, one, rtol=rtol, atol=atol, err_msg=one.path
        )
    assert plain.history.keys() == compiled.history.keys()
    for name in plain.history.keys() - {"wall_seconds", "step_ms"}:
        np.testing.assert_array_equal(
            compiled.history[name].steps, plain.history[name].steps
        )
        values = compiled.history[name].values, plain.history[name].values
        np.testing.assert_allclose(*values, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.long
def test_all_that_is_measured_and_changed(both):
    # Sums in float32 in another order; Adam divides by the size of a gradient, small ones too.
    assert_alike(*both(ALL), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "precision, bits", [("mixed_bfloat16", 8), ("mixed_float16", 11)]
)
def test_half_precision(both, precision, bits):
    # XLA rounds to half precision at other places; five steps of gradient descent add up.
    overrides = [f"training.precision={precision}", "model.dropout=0"]
    assert_alike(
        *both(SOME, *overrides), rtol=8 * 2.0**-bits, atol=8 * 2.0**-bits
    )


@pytest.mark.parametrize("pieces", [1, 2])
def test_embeddings_and_what_is_measured_of_them(both, own_parts, pieces):
    overrides = [
        "model={name: 'words:pooled'}",
        "data={name: 'words:sentences', batch_size: 25}",
    ]
    overrides.append(f"gradients.accumulate_steps={pieces}")
    plain, compiled = both(
        SOME, *overrides, "log.histograms_every=1", "training.steps=3"
    )
    assert_alike(plain, compiled, rtol=1e-4, atol=1e-6)


def test_dropout_draws_other_numbers_from_the_same_seeds(both):
    plain, compiled = both(SOME)
    assert (
        compiled.history["loss"].values[-1] < compiled.history["loss"].values[0]
    )
    assert np.any(
        plain.history["loss"].values != compiled.history["loss"].values
    )
    seeds = [
        [
            np.asarray(one)
            for one in run.model.variables
            if one.dtype == "uint32"
        ]
        for run in (plain, compiled)
    ]
    np.testing.assert_array_equal(*seeds)


def test_what_xla_cannot_compile_is_told_before_training(tmp_path, own_parts):
    (tmp_path / "jit.yaml").write_text(
        SOME.replace("{steps: 5}", "{steps: 5, jit_compile: true}")
    )
    overrides = [
        "model={name: 'words:unseen'}",
        "data={name: 'words:sentences'}",
    ]
    where = "jit.yaml:5:35: training.jit_compile: given true, but this step cannot be compiled: "
    with pytest.raises(
        InputError,
        match=where + "XLA does not know the TensorFlow operation PyFunc$",
    ):
        tftrain.train(
            tftrain.load(tmp_path / "jit.yaml", overrides), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_what_only_the_first_step_shows_names_the_setting(
    tmp_path, own_parts, monkeypatch
):
    monkeypatch.setattr(
        "tftrain.trainer.post_build_checks.xla_obstacle",
        lambda step, sample: None,
    )
    (tmp_path / "jit.yaml").write_text(SOME)
    overrides = [
        "model={name: 'words:unseen'}",
        "data={name: 'words:sentences'}",
        "training.jit_compile=true",
    ]
    with pytest.raises(
        TrainingError,
        match="PyFunc.*; training.jit_compile: false does without XLA",
    ):
        tftrain.train(
            tftrain.load(tmp_path / "jit.yaml", overrides), tmp_path / "run"
        )
