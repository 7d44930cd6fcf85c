"""What `gradients.remat` chooses and refuses, and whole runs with it beside the same runs without."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tftrain
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run

MLP = """
model: {name: mlp, hidden: [8, 8, 8, 8, 8, 8], batch_norm: true, residual: true, dropout: 0.3}
data: {name: wine, batch_size: 50, validation: 0.2, test: 0.1, preprocess: standardize}
optimizer: adam
gradients: {clip: {name: global_norm, limit: 1}, remat: true}
training: {steps: 4, validate_every: 2}
log: {scalars: 1, histograms_every: 2, histograms: [gradients, activations], graph: false}
"""
SEQUENCES = """
model: {name: rnn, cell: gru, units: [6, 6]}
data: {name: sine, length: 12, examples: 32, targets: each, batch_size: 8}
optimizer: sgd
gradients: {remat: true}
training: {steps: 3}
"""
ATTENDING = """
model: 'towers:Towers'
data: {name: wine, batch_size: 50, preprocess: standardize}
optimizer: sgd
gradients: {remat: true}
training: {steps: 2}
"""


def blocks_of(config):
    blocks = build_run(config).step_spec.blocks
    return [layer.name for layer in blocks.layers], [
        len(one.all) for one in blocks.segments
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (MLP, []),
        (
            MLP,
            [
                "gradients.remat='norm|activation'",
                "gradients.accumulate_steps=2",
            ],
        ),
        (SEQUENCES, ["gradients.method={name: truncated_bptt, window: 4}"]),
    ],
)
def test_a_run_is_the_same_with_it(desk, tmp_path, text, overrides):
    config = desk.load(text, *overrides)
    plain = desk.load(text, *overrides, "gradients.remat=false")
    found, expected = (
        tftrain.train(one, tmp_path / str(place))
        for place, one in enumerate([config, plain])
    )
    for one, other in zip(
        found.model.variables, expected.model.variables, strict=True
    ):
        np.testing.assert_allclose(
            one, other, rtol=1e-5, atol=1e-6, err_msg=other.path
        )
    assert found.history.keys() == expected.history.keys()
    for name in expected.history.keys() - {
        "wall_seconds",
        "steps_per_second",
        "step_ms",
    }:
        values = found.history[name].values, expected.history[name].values
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_true_cuts_a_functional_model_and_takes_the_blocks_of_another_one(desk):
    names, cuts = blocks_of(desk.load(MLP))
    assert names == [] and 3 <= cuts[0] <= 8
    assert blocks_of(desk.load(ATTENDING)) == (["left", "right"], [])


def test_a_pattern_names_layers_the_outer_one_of_two(desk):
    assert blocks_of(
        desk.load(ATTENDING, "gradients.remat='left|right.one'")
    ) == (
        ["left", "one"],
        [],
    )


@pytest.mark.parametrize(
    ("text", "flag", "message"),
    [
        (
            MLP,
            "gradients.remat=hiden",
            "'hiden', which is in no layer's name; the names are hidden_1, norm_1, ",
        ),
        (
            MLP,
            "gradients.method=numeric",
            "true does not go with the method numeric, which has no backward pass",
        ),
        (
            ATTENDING,
            "model='unreached:Partly'",
            "true, but partly is no functional model, and has no blocks of layers",
        ),
        (
            ATTENDING,
            "model='towers:Drawing'",
            r"true, but .* (RandomUniform) draws other random numbers a second time",
        ),
        (
            SEQUENCES,
            "gradients.remat=cell",
            "'cell', which is in no layer's name; the names are ",
        ),
        (
            SEQUENCES,
            "gradients.method={name: truncated_bptt, window: 4, update: window}",
            "true does not go with a step for each window",
        ),
    ],
)
def test_what_it_refuses(desk, text, flag, message):
    pattern = re.escape(f"gradients.remat: given {message}").replace(
        r"\.\*", ".*"
    )
    with pytest.raises(InputError, match=pattern) as caught:
        build_run(desk.load(text, flag))
    assert "\n" not in str(caught.value)


def first_grad_norm(desk, layers, recompute):
    text = f"model: {{name: sequential, layers: {layers}}}\ndata: iris\noptimizer: sgd\ntraining: {{steps: 1}}\n"
    desk.write(f"{text}gradients: {{remat: {recompute}}}\n")
    return (
        tftrain.train(tftrain.load("config.yaml"))
        .history["grad_norm"]
        .values[0]
    )


@pytest.mark.parametrize("kind", ["Around", "Stopped"])
def test_weights_that_a_gradient_of_ones_own_takes_from_around_it_or_that_have_none(
    desk, kind
):
    layers = f"[{{name: dense, units: 5}}, 'gradients:{kind}', {{name: dense, units: 3}}]"
    plain, again = (
        first_grad_norm(desk, layers, one) for one in ("false", kind.lower())
    )
    assert plain == pytest.approx(again, rel=1e-6)


def test_a_weight_that_is_changed_in_the_forward_pass_is_refused(desk):
    layers = "[{name: dense, units: 5}, 'gradients:Shrinking', {name: dense, units: 3}]"
    said = "given 'shrinking', but the layer changes a weight that is trained, "
    said += "sequential/shrinking/kernel, in its forward"
    with pytest.raises(InputError, match=f"gradients.remat: {said}"):
        first_grad_norm(desk, layers, "shrinking")
