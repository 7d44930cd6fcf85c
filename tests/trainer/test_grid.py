"""What runs a sweep is made of."""

from __future__ import annotations

import pytest

import tftrain
from tftrain.trainer.sweep import expand_grid, shorten_key, split_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", ["1"]),
        ("0.01, 0.1,1", ["0.01", "0.1", "1"]),
        ("[3, 4],[5]", ["[3, 4]", "[5]"]),
        (
            "none,{name: norm, limit: 1},[{name: value, limit: 2}, {name: norm, limit: 3}]",
            None,
        ),
        ("'a,b',\"c,d\",e", ["'a,b'", '"c,d"', "e"]),
        ("{name: 'it, is', x: 1},don't", ["{name: 'it, is', x: 1}", "don't"]),
        ("1,", ["1", ""]),
    ],
)
def test_commas_within_brackets_braces_and_quotes_part_nothing(text, values):
    expected = [
        "none",
        "{name: norm, limit: 1}",
        "[{name: value, limit: 2}, {name: norm, limit: 3}]",
    ]
    assert split_values(text) == (values or expected)


def test_every_combination_the_last_key_fastest():
    trials = expand_grid(
        ["gradients.clip.limit=0.1,1", "training.epochs=3", "training.seed=0,1"]
    )
    assert [trial.label for trial in trials] == [
        *("limit=0.1 seed=0", "limit=0.1 seed=1"),
        *("limit=1 seed=0", "limit=1 seed=1"),
    ]
    assert trials[2].flags == [
        "gradients.clip.limit=1",
        "training.epochs=3",
        "training.seed=0",
    ]
    assert [*trials[0].values] == ["gradients.clip.limit", "training.seed"], (
        "what does not differ is no column"
    )
    assert [trial.flags for trial in expand_grid([])] == [[]]


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ("gradients.clip.limit=none", "gradients.clip=[]"),
        ("gradients.clip=none", "gradients.clip=[]"),
        ("log.histograms=none", "log.histograms=[]"),
        ("training.ema=none", "training.ema=null"),
        (
            "training.early_stopping.patience=none",
            "training.early_stopping.patience=null",
        ),
    ],
)
def test_none_leaves_a_part_out(setting, flag):
    assert expand_grid([setting])[0].flags == [flag]


def test_limits_and_no_clip_at_all_are_one_sweep(desk):
    desk.write(desk.good + "gradients: {clip: {name: global_norm, limit: 5}}\n")
    trials = expand_grid(
        [
            "gradients.clip.name=norm,global_norm",
            "gradients.clip.limit=0.1,none",
        ]
    )
    chosen = [
        tftrain.load("config.yaml", trial.flags).gradients.clip
        for trial in trials
    ]
    found = [
        [(part.name, part.given["limit"]) for part in clips] for clips in chosen
    ]
    assert found == [[("norm", 0.1)], [], [("global_norm", 0.1)], []]


def test_keys_are_told_by_their_ends():
    keys = ["a.rate", "b.rate", "a.limit"]
    assert [shorten_key(key, keys) for key in keys] == [
        "a.rate",
        "b.rate",
        "limit",
    ]


@pytest.mark.parametrize(
    "setting", ["training.seed", "training.seed=", "=1", "training.seed=1,,2"]
)
def test_what_is_no_setting_is_told(setting):
    with pytest.raises(
        tftrain.ConfigError,
        match="expected KEY.PATH=VALUE,VALUE, such as gradients.clip.limit",
    ):
        expand_grid([setting])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("training.seed=1,2,0x1", "1"),
        ("model.hidden=[4],[5],[ 4 ]", "[4]"),
        (
            "gradients.clip={name: norm, limit: 1.0},{name: norm, limit: 10e-1}",
            "{name: norm, limit: 1.0}",
        ),
    ],
)
def test_a_value_that_is_given_twice_is_told(setting, value):
    with pytest.raises(tftrain.ConfigError) as caught:
        expand_grid([setting])
    assert (
        str(caught.value)
        == f"--set {setting}: given {value} twice; expected each value once"
    )


def test_true_is_not_1():
    assert (
        len(expand_grid(["training.seed=1,true", "model.hidden=[1],[true]"]))
        == 4
    )
