"""Groups of parameters, weight decay by pattern, and the rate of the config's optimizer."""

import keras
import numpy as np
import pytest

import tftrain
from tftrain.core.update import ParamOptions
from tftrain.core.variables import Names
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run
from tftrain.trainer.build_optimizer import build_optimizer, freeze

NAMES = [
    "000.conv/kernel",
    "000.conv/bias",
    "001.norm/gamma",
    "002.output/kernel",
    "002.output/bias",
]
ALL = Names(NAMES, [])
HEAD = "model: {name: mlp, hidden: [4]}\ndata: {name: iris, batch_size: full}\ntraining: {steps: 3}\n"


@pytest.fixture
def config(tmp_path):
    def load(optimizer):
        path = tmp_path / "c.yaml"
        path.write_text(f"{HEAD}optimizer: {optimizer}\n")
        return tftrain.load(path)

    return load


@pytest.mark.parametrize(
    "optimizer, shares, keras_decay",
    [
        ("adamw", [ParamOptions()] * 5, 0.004),
        ("sgd", [ParamOptions()] * 5, None),
        (
            "{name: adamw, weight_decay: 0.1, weight_decay_only: kernel}",
            [
                ParamOptions(1, 0.1),
                ParamOptions(1, 0.0),
                ParamOptions(1, 0.0),
                ParamOptions(1, 0.1),
                ParamOptions(1, 0.0),
            ],
            None,
        ),
        (
            "{name: adamw, groups: [{only: output, rate: 0.1}]}",
            [ParamOptions()] * 3 + [ParamOptions(0.1)] * 2,
            0.004,
        ),
        (
            "{name: sgd, groups: [{only: ., weight_decay: 0.2}, {only: bias$, rate: 2, weight_decay: 0.0}]}",
            [
                ParamOptions(1, 0.2),
                ParamOptions(2, 0.0),
                ParamOptions(1, 0.2),
                ParamOptions(1, 0.2),
                ParamOptions(2, 0.0),
            ],
            None,
        ),
        (
            "{name: muon, weight_decay_only: 'conv/'}",
            [
                ParamOptions(1, 0.004),
                ParamOptions(1, 0.004),
                ParamOptions(1, 0.0),
                ParamOptions(1, 0.0),
                ParamOptions(1, 0.0),
            ],
            None,
        ),
    ],
)
def test_shares(config, optimizer, shares, keras_decay):
    found = build_optimizer(config(optimizer).optimizer, ALL, 1)
    assert found.shares == shares
    assert found.keras.weight_decay == keras_decay
    assert (
        keras_decay is not None
        or getattr(found.keras, "adam_weight_decay", None) is None
    )


def test_one_decay_where_it_is_told_by_patterns(config):
    text = "{name: muon, weight_decay: 0.1, adam_weight_decay: 0.2, weight_decay_only: kernel}"
    with pytest.raises(
        InputError,
        match=r"optimizer.adam_weight_decay: given 0.2, but .* weight_decay \(0.1\) is that",
    ):
        build_optimizer(config(text).optimizer, ALL, 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "{clipnorm: 1.0}",
            "with clipnorm, refused: the train step clips, .* {clip: {name: norm, limit",
        ),
        (
            "{global_clipnorm: 1.0}",
            "with global_clipnorm, refused: .* {clip: {name: global_norm",
        ),
        ("{clipvalue: 1.0}", "with clipvalue, refused: .* {clip: {name: value"),
        (
            "{use_ema: true}",
            "with use_ema, refused: .* write training: {ema: ...}",
        ),
        (
            "{gradient_accumulation_steps: 3}",
            "with gradient_accumulation_steps, refused: .* write gradients: {accumulate_steps: ...}",
        ),
        (
            "{loss_scale_factor: 8.0}",
            "with loss_scale_factor, refused: .* write training: {precision: mixed_float16}",
        ),
    ],
)
def test_what_an_own_optimizer_may_not_do(desk, more, message):
    text = f"{HEAD}optimizer: {{name: 'optimizers:sgd', more: {more}}}\n"
    with pytest.raises(
        InputError,
        match=rf"config.yaml:4:\d+: optimizer: optimizers:sgd gave a SGD {message}",
    ):
        build_optimizer(desk.load(text).optimizer, ALL, 1)


def test_an_own_optimizer_may_not_scale_the_loss(desk):
    with pytest.raises(
        InputError,
        match="gave a LossScaleOptimizer with loss_scale_factor, refused: .*mixed_float16",
    ):
        build_optimizer(
            desk.load(f"{HEAD}optimizer: optimizers:loss_scaled\n").optimizer,
            ALL,
            1,
        )


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [
        ("optimizers:falling", [0.5, 0.25, 0.125]),
        (
            "{name: 'optimizers:falling', learning_rate: 0.75}",
            [0.75, 0.25, 0.125],
        ),
        ("optimizers:called", [0.25] * 3),
        ("{name: 'optimizers:tenfold', learning_rate: 0.025}", [0.25] * 3),
    ],
)
def test_the_rate_that_an_own_optimizer_holds(desk, tmp_path, optimizer, rates):
    found = tftrain.train(
        desk.load(f"{HEAD}optimizer: {optimizer}\nlog: {{scalars: 1}}\n"),
        tmp_path / "run",
    )
    np.testing.assert_array_equal(found.history["learning_rate"].values, rates)


@pytest.mark.parametrize("name", ["Descent", "sgd", "Inherited"])
def test_an_own_optimizer_with_a_schedule(desk, tmp_path, name):
    rate = "{name: warmup, steps: 3, then: 0.3}"
    text = f"{HEAD}optimizer: {{name: 'optimizers:{name}', learning_rate: {rate}}}\nlog: {{scalars: 1}}\n"
    result = tftrain.train(desk.load(text), tmp_path / "run")
    np.testing.assert_allclose(
        result.history["learning_rate"].values, [0.1, 0.2, 0.3], rtol=1e-6
    )  # float32


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tenfold", "makes 10 of a learning_rate of 1"),
        ("falling", "holds a schedule of its own"),
    ],
)
def test_a_schedule_is_refused_where_an_own_optimizer_makes_another_rate_of_it(
    desk, name, why
):
    text = f"{HEAD}optimizer: {{name: 'optimizers:{name}', learning_rate: {{name: warmup, steps: 3, then: 0.3}}}}\n"
    with pytest.raises(
        InputError,
        match=f"optimizer.learning_rate: given a schedule, but optimizers:{name} {why}; exp",
    ):
        build_optimizer(desk.load(text).optimizer, ALL, 1)


def test_the_decay_that_an_own_optimizer_holds(desk):
    text = "{name: 'optimizers:tenfold', weight_decay_only: kernel}"
    found = build_optimizer(
        desk.load(f"{HEAD}optimizer: {text}\n").optimizer, ALL, 1
    )
    assert [share.weight_decay for share in found.shares] == [0.5, 0, 0, 0.5, 0]
    with pytest.raises(
        InputError,
        match="weight_decay_only: given 'kernel', but there is no weight decay",
    ):
        build_optimizer(
            desk.load(
                f"{HEAD}optimizer: {text.replace('tenfold', 'called')}\n"
            ).optimizer,
            ALL,
            1,
        )


def test_several_optimizers_in_one_are_refused(desk):
    message = r"config.yaml:4:\d+: optimizer: optimizers:several gave a MultiOptimizer, .* and groups for"
    with pytest.raises(InputError, match=message):
        build_optimizer(
            desk.load(f"{HEAD}optimizer: optimizers:several\n").optimizer,
            ALL,
            1,
        )


def test_an_own_optimizer_with_rates_of_groups_goes_by_the_rate_that_it_is_given(
    desk,
):
    text = (
        HEAD
        + "optimizer: {name: 'optimizers:Descent', held: HELD, groups: [{only: output, rate: 0.5}]}\n"
    )
    optimizer = build_optimizer(
        desk.load(text.replace("HELD", "false")).optimizer, ALL, 1
    )
    assert optimizer.shares == [ParamOptions()] * 3 + [ParamOptions(0.5)] * 2
    message = "config.yaml:4:.* optimizer.groups: given rate: 0.5, but optimizers:Descent gave a Descent, whose update"
    with pytest.raises(InputError, match=message):
        build_optimizer(
            desk.load(text.replace("HELD", "true")).optimizer, ALL, 1
        )
    build_optimizer(
        desk.load(
            text.replace("HELD", "true").replace("rate: 0.5", "rate: 1")
        ).optimizer,
        ALL,
        1,
    )


def test_boundaries_that_do_not_rise_once_they_are_steps(config):
    rate = "{name: piecewise_constant_decay, boundaries: [2 epochs, 5], values: [3, 2, 1]}"
    part = config(f"{{name: sgd, learning_rate: {rate}}}").optimizer
    assert build_optimizer(part, ALL, 2)
    with pytest.raises(
        InputError,
        match="learning_rate.boundaries: given 5 after 6; expected boundaries that rise",
    ):
        build_optimizer(part, ALL, 3)


@pytest.mark.parametrize(
    "optimizer, path",
    [
        (
            "{name: adamw, weight_decay_only: dense}",
            "optimizer.weight_decay_only",
        ),
        (
            "{name: adam, groups: [{only: kernel}, {only: dense, frozen: true}]}",
            "optimizer.groups.1.only",
        ),
    ],
)
def test_a_pattern_that_is_in_no_name(config, optimizer, path):
    part = config(optimizer).optimizer
    variables = [keras.Variable(np.zeros(2)) for _ in NAMES]
    with pytest.raises(
        InputError,
        match=rf"c.yaml:4:\d+: {path}: given 'dense', .* the names are 000.conv/kernel, 000.conv",
    ):
        freeze(part, variables, ALL)
        build_optimizer(part, ALL, 1)


@pytest.mark.parametrize(
    "optimizer, path",
    [
        (
            "{name: adamw, weight_decay_only: conv}",
            "optimizer.weight_decay_only",
        ),
        (
            "{name: adam, groups: [{only: kernel}, {only: conv, rate: 2}]}",
            "optimizer.groups.1.only",
        ),
    ],
)
def test_a_pattern_that_is_in_names_of_frozen_parameters_only(
    config, optimizer, path
):
    part, names = config(optimizer).optimizer, Names(NAMES[2:], NAMES[:2])
    with pytest.raises(
        InputError,
        match=rf"c.yaml:4:\d+: {path}: given 'conv', which is only in names of frozen parameters \(000.conv/kernel, "
        r"000.conv/bias\); those that are trained are 001.norm/gamma, 002.output/kernel, ",
    ):
        freeze(
            part, [keras.Variable(np.zeros(2)) for _ in names.trained], names
        )
        build_optimizer(part, names, 1)


def test_groups_that_freeze_everything(config):
    part = config("{name: adam, groups: [{only: ., frozen: true}]}").optimizer
    with pytest.raises(
        InputError, match="optimizer.groups: they freeze every parameter"
    ):
        freeze(part, [keras.Variable(np.zeros(2)) for _ in NAMES], ALL)


def test_at_rate_zero_nothing_moves(config, tmp_path):
    found = tftrain.train(
        config("{name: adamw, learning_rate: 0}"), tmp_path / "run"
    )
    assert set(found.history["learning_rate"].values) == {0}
    assert (
        len(set(found.history["loss"].values)) == 1
        and found.history["grad_norm"].values[0] > 0
    )
    start = build_run(config("{name: adamw, learning_rate: 0}")).state.model
    for one, other in zip(found.model.weights, start.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_with_groups(config, tmp_path):
    groups = "[{only: hidden, frozen: true}, {only: hidden_1/bias, frozen: false, rate: 0.5},"
    groups += " {only: output/bias, rate: 0}]"
    plain = tftrain.train(
        config("{name: sgd, learning_rate: 0.1}"), tmp_path / "plain"
    ).model
    found = tftrain.train(
        config(f"{{name: sgd, learning_rate: 0.1, groups: {groups}}}"),
        tmp_path / "run",
    ).model
    keras.utils.set_random_seed(0)
    start = tftrain.train(
        config("{name: sgd, learning_rate: 1e-30}"), tmp_path / "start"
    ).model
    moved = {
        path.path: not np.allclose(
            path.value, begun.value, atol=1e-20
        )  # a rate of 1e-30 moves a 0 a little
        for path, begun in zip(found.weights, start.weights, strict=True)
    }
    assert moved == {
        "hidden_1/kernel": False,
        "hidden_1/bias": True,
        "output/kernel": True,
        "output/bias": False,
    }
    assert not np.array_equal(plain.weights[0], start.weights[0])
