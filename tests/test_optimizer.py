"""Groups of parameters, weight decay by pattern, and the rate of the config's optimizer."""

import keras
import numpy as np
import pytest

import tftrain
from tftrain.assemble import assemble
from tftrain.core.parameters import Names
from tftrain.core.update import Shares
from tftrain.errors import InputError
from tftrain.optimizer import freeze, open_optimizer

NAMES = ["000.conv/kernel", "000.conv/bias", "001.norm/gamma", "002.output/kernel", "002.output/bias"]
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
        ("adamw", [Shares()] * 5, 0.004),
        ("sgd", [Shares()] * 5, None),
        (
            "{name: adamw, weight_decay: 0.1, weight_decay_only: kernel}",
            [Shares(1, 0.1), Shares(1, 0.0), Shares(1, 0.0), Shares(1, 0.1), Shares(1, 0.0)],
            None,
        ),
        ("{name: adamw, groups: [{only: output, rate: 0.1}]}", [Shares()] * 3 + [Shares(0.1)] * 2, 0.004),
        (
            "{name: sgd, groups: [{only: ., weight_decay: 0.2}, {only: bias$, rate: 2, weight_decay: 0.0}]}",
            [Shares(1, 0.2), Shares(2, 0.0), Shares(1, 0.2), Shares(1, 0.2), Shares(2, 0.0)],
            None,
        ),
    ],
)
def test_shares(config, optimizer, shares, keras_decay):
    found = open_optimizer(config(optimizer).optimizer, ALL, 1)
    assert found.shares == shares
    assert found.keras.weight_decay == keras_decay


@pytest.mark.parametrize(
    "optimizer, path",
    [
        ("{name: adamw, weight_decay_only: dense}", "optimizer.weight_decay_only"),
        ("{name: adam, groups: [{only: kernel}, {only: dense, frozen: true}]}", "optimizer.groups.1.only"),
    ],
)
def test_a_pattern_that_is_in_no_name(config, optimizer, path):
    part = config(optimizer).optimizer
    variables = [keras.Variable(np.zeros(2)) for _ in NAMES]
    with pytest.raises(
        InputError, match=rf"c.yaml:4:\d+: {path}: given 'dense', .* the names are 000.conv/kernel, 000.conv"
    ):
        freeze(part, variables, ALL)
        open_optimizer(part, ALL, 1)


@pytest.mark.parametrize(
    "optimizer, path",
    [
        ("{name: adamw, weight_decay_only: conv}", "optimizer.weight_decay_only"),
        ("{name: adam, groups: [{only: kernel}, {only: conv, rate: 2}]}", "optimizer.groups.1.only"),
    ],
)
def test_a_pattern_that_is_in_names_of_frozen_parameters_only(config, optimizer, path):
    part, names = config(optimizer).optimizer, Names(NAMES[2:], NAMES[:2])
    with pytest.raises(
        InputError,
        match=rf"c.yaml:4:\d+: {path}: given 'conv', which is only in names of frozen parameters \(000.conv/kernel, "
        r"000.conv/bias\); those that are trained are 001.norm/gamma, 002.output/kernel, ",
    ):
        freeze(part, [keras.Variable(np.zeros(2)) for _ in names.trained], names)
        open_optimizer(part, names, 1)


def test_groups_that_freeze_everything(config):
    part = config("{name: adam, groups: [{only: ., frozen: true}]}").optimizer
    with pytest.raises(InputError, match="optimizer.groups: they freeze every parameter"):
        freeze(part, [keras.Variable(np.zeros(2)) for _ in NAMES], ALL)


def test_at_rate_zero_nothing_moves(config, tmp_path):
    found = tftrain.train(config("{name: adamw, learning_rate: 0}"), tmp_path / "run")
    assert set(found.history["learning_rate"].values) == {0}
    assert len(set(found.history["loss"].values)) == 1 and found.history["grad_norm"].values[0] > 0
    start = assemble(config("{name: adamw, learning_rate: 0}")).state.model
    for one, other in zip(found.model.weights, start.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_with_groups(config, tmp_path):
    groups = (
        "[{only: hidden, frozen: true}, {only: hidden_1/bias, frozen: false, rate: 0.5}, {only: output/bias, rate: 0}]"
    )
    plain = tftrain.train(config("{name: sgd, learning_rate: 0.1}"), tmp_path / "plain").model
    found = tftrain.train(config(f"{{name: sgd, learning_rate: 0.1, groups: {groups}}}"), tmp_path / "run").model
    keras.utils.set_random_seed(0)
    start = tftrain.train(config("{name: sgd, learning_rate: 1e-30}"), tmp_path / "start").model
    moved = {
        path.path: not np.allclose(path.value, begun.value, atol=1e-20)  # a rate of 1e-30 moves a 0 a little
        for path, begun in zip(found.weights, start.weights, strict=True)
    }
    assert moved == {
        "mlp/hidden_1/kernel": False,
        "mlp/hidden_1/bias": True,
        "mlp/output/kernel": True,
        "mlp/output/bias": False,
    }
    assert not np.array_equal(plain.weights[0], start.weights[0])
