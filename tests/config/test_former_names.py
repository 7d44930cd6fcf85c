"""Names of before are read as the current ones, and each is reported once, with its place."""

from __future__ import annotations

import pytest

import tftrain
from tftrain.config import former_names
from tftrain.config.compose import read_config
from tftrain.config.export import to_yaml
from tftrain.config.validation import validate
from tftrain.trainer.sweep import expand_grid

HEAD = "model: mlp\ndata: iris\noptimizer: sgd\n"


@pytest.fixture(autouse=True)
def nothing_reported_yet():
    former_names._report_once.cache_clear()


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text, *overrides, **files):
        for name, content in files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        (tmp_path / "config.yaml").write_text(text)
        return tftrain.load("config.yaml", overrides)

    return load


def test_a_former_key_is_read_and_reported_with_its_place(load, capsys):
    config = load(f"{HEAD}gradients:\n  accumulate: 4\n")
    assert config.gradients.accumulate_steps == 4
    assert capsys.readouterr().err == (
        "config.yaml:5:3: gradients.accumulate is now gradients.accumulate_steps; "
        "the old name will stop working in the next version\n"
    )


def test_each_is_reported_once(load, capsys):
    load(f"{HEAD}training: {{spike: 3}}\n")
    load(f"{HEAD}training: {{spike: 3}}\n")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("former", "current"),
    [
        ("gradients: {accumulate: 3}", "gradients: {accumulate_steps: 3}"),
        ("gradients: {recompute: dense}", "gradients: {remat: dense}"),
        ("training: {spike: never}", "training: {spike_factor: never}"),
        ("training: {on_nonfinite: skip}", "training: {on_bad_step: skip}"),
        ("checkpoint: {keep: 7}", "checkpoint: {max_to_keep: 7}"),
        ("log: {pictures: curves}", "log: {plots: curves}"),
        (
            "gradients: {method: {name: rtrl, memory: 3}}",
            "gradients: {method: {name: rtrl, memory_limit_mib: 3}}",
        ),
    ],
)
def test_former_names_give_the_same_config(load, former, current):
    assert to_yaml(load(f"{HEAD}{former}\n")) == to_yaml(
        load(f"{HEAD}{current}\n")
    )


def test_arguments_of_the_component_that_a_base_names(load):
    base = HEAD.replace("iris", "{name: copy, symbols: 4}")
    config = load("base: base.yaml\ndata: {remembered: 5}\n", base=base)
    assert config.data.source.given == {"symbols": 4, "symbols_to_copy": 5}


def test_a_later_file_or_flag_wins_by_either_name(load):
    base = f"{HEAD}checkpoint: {{keep: 7}}\n"
    config = load("base: base.yaml\ncheckpoint: {max_to_keep: 8}\n", base=base)
    assert config.checkpoint.max_to_keep == 8
    config = load(
        f"{HEAD}checkpoint: {{max_to_keep: 7}}\n", "checkpoint.keep=9"
    )
    assert config.checkpoint.max_to_keep == 9


def test_both_names_are_an_error(load):
    with pytest.raises(tftrain.ConfigError) as caught:
        load(f"{HEAD}checkpoint: {{keep: 7, max_to_keep: 7}}\n")
    assert str(caught.value) == (
        "config.yaml:4:14: checkpoint.keep: given beside checkpoint.max_to_keep, its current name; "
        "expected one of the two"
    )


def test_a_sweep_varies_a_former_key(load):
    trials = expand_grid(["checkpoint.keep=2,3"])
    values = [
        load(HEAD, *trial.flags).checkpoint.max_to_keep for trial in trials
    ]
    assert values == [2, 3]


def test_the_config_of_an_old_run_is_read(load, tmp_path):
    config = load(f"{HEAD}training: {{on_nonfinite: skip}}\n")
    old = to_yaml(config).replace("on_bad_step", "on_nonfinite")
    (tmp_path / "old.yaml").write_text(old)
    read = validate(read_config(tmp_path / "old.yaml"), "config")
    assert to_yaml(read) == to_yaml(config)
