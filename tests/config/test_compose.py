from __future__ import annotations

import os
import re

import numpy as np
import pytest

import tftrain
from tftrain.config.compose import read_config, to_overrides
from tftrain.config.config_file import MAX_BYTES
from tftrain.config.conversion import to_plain


@pytest.mark.parametrize(
    ("flags", "path", "value"),
    [
        (["training.epochs=3"], "training.epochs", 3),
        (["training.epochs=3", "training.epochs=4"], "training.epochs", 4),
        (
            ["optimizer.learning_rate=3e-4"],
            "optimizer.given.learning_rate",
            3e-4,
        ),
        (["optimizer=sgd"], "optimizer.name", "sgd"),
        (
            ["optimizer={name: sgd, momentum: 0.9}"],
            "optimizer.given.momentum",
            0.9,
        ),
        (["model.hidden=[5, 6]"], "model.given.hidden", [5, 6]),
        (
            ["model.hidden=[5, 6]", "model.hidden.1=7"],
            "model.given.hidden",
            [5, 7],
        ),
        (["data.test=0.25"], "data.test", 0.25),
        (
            ["metrics=[auc]", "metrics.0=precision"],
            "metrics.0.name",
            "precision",
        ),
        (
            ["metrics=[auc]", "metrics.0.num_thresholds=50"],
            "metrics.0.given.num_thresholds",
            50,
        ),
        (
            ["gradients.clip={name: norm, limit: 2}", "gradients.clip.limit=3"],
            "gradients.clip.0.given.limit",
            3.0,
        ),
        (
            ["data={name: tfds, dataset: mnist}", "data.train=train[:5%]"],
            "data.source.given.train",
            "train[:5%]",
        ),
        (
            ["data={name: tfds, dataset: a}", "data.dataset=b/c:1.0.0"],
            "data.source.given.dataset",
            "b/c:1.0.0",
        ),
        (
            ["data={name: tfds, dataset: a}", "data.dataset='a=b: c'"],
            "data.source.given.dataset",
            "a=b: c",
        ),
        (
            ["training.early_stopping={}", "training.early_stopping=null"],
            "training.early_stopping",
            None,
        ),
        (
            ["training.early_stopping.patience=3"],
            "training.early_stopping.patience",
            3,
        ),
        ([" training . epochs = 3 "], "training.epochs", 3),
    ],
)
def test_a_flag_changes_one_value(desk, flags, path, value):
    found = desk.load(desk.good, *flags)
    for key in path.split("."):
        found = (
            found[int(key)]
            if key.isdigit()
            else found[key]
            if isinstance(found, dict)
            else getattr(found, key)
        )
    assert found == value


def test_from_python_the_flags_may_be_a_mapping(desk):
    path = desk.write(desk.good)
    assert tftrain.load(
        path, {"training.epochs": 3, "model.hidden": [5]}
    ) == tftrain.load(path, ["training.epochs=3", "model.hidden=[5]"])
    assert (
        tftrain.load(
            path, {"data": {"name": "tfds", "dataset": "é😀"}}
        ).data.source.given["dataset"]
        == "é😀"
    )


def test_a_later_file_wins(desk):
    desk.write(
        "model: {name: mlp, hidden: [3], dropout: 0.5}\ndata: iris\noptimizer: adam\n",
        "base.yaml",
    )
    found = desk.load(
        "base: base.yaml\nmodel: {hidden: [4]}\ntraining: {epochs: 3}\n"
    )
    assert (
        found.model.given == {"hidden": [4], "dropout": 0.5}
        and found.training.epochs == 3
    )


def test_naming_another_part_starts_its_section_afresh(desk):
    desk.write(
        "model: mlp\ndata: iris\noptimizer: {name: sgd, momentum: 0.9, learning_rate: 0.1}\n",
        "base.yaml",
    )
    assert (
        desk.load("base: base.yaml\noptimizer: {name: adam}\n").optimizer.given
        == {}
    )
    assert desk.load(
        "base: base.yaml\noptimizer: {name: sgd, momentum: 0.5}\n"
    ).optimizer.given == {
        "learning_rate": 0.1,
        "momentum": 0.5,
    }


def test_a_section_left_empty_leaves_the_base_as_it_is(desk):
    desk.write(desk.good + "training: {epochs: 7}\n", "base.yaml")
    assert desk.load("base: base.yaml\ntraining:\n").training.epochs == 7


def test_the_later_of_epochs_and_steps_stands(desk):
    desk.write(desk.good + "training: {epochs: 3, seed: 7}\n", "base.yaml")
    child = "base: base.yaml\ntraining: {steps: 20}\n"
    training = desk.load(child).training
    assert (training.epochs, training.steps, training.seed) == (None, 20, 7)
    training = desk.load(child, "training.epochs=2").training
    assert (training.epochs, training.steps) == (2, None)
    assert desk.load(child, "training.epochs=null").training.steps == 20
    assert (
        "given beside training.epochs"
        in desk.problems(child, "training={epochs: 1, steps: 2}")[0]
    )


@pytest.mark.parametrize(
    "empty", ["trainig:", "trainig: null", "trainig: ~", "trainig: {}"]
)
def test_an_unknown_section_is_an_error_wherever_it_stands_and_whatever_it_holds(
    desk, empty
):
    said = (
        "trainig: unknown section; expected one of .*; did you mean 'training'"
    )
    desk.write(desk.good, "below.yaml")
    desk.write(f"base: below.yaml\n{empty}\n", "wrong.yaml")
    desk.write("base: wrong.yaml\n", "above.yaml")
    for text in (
        f"base: below.yaml\n{empty}\n",
        "base: wrong.yaml\n",
        "base: above.yaml\ntraining:\n",
    ):
        (problem,) = desk.refused(text).problems
        file = "config" if empty in text else "wrong"
        assert re.match(f"{file}.yaml:2:1: {said}", problem)


def test_an_unknown_key_without_a_value_is_an_error_below_a_base_too(desk):
    desk.write(f"{desk.good}training: {{epohcs: }}\n", "below.yaml")
    text = "base: below.yaml\noptimizer: {learning_rat: }\nmodel: {hiden: }\nlog: {scalar: }\n"
    problems = "\n".join(desk.refused(text).problems)
    for key in (
        "training.epohcs",
        "optimizer.learning_rat",
        "model.hiden",
        "log.scalar",
    ):
        assert re.search(f"{key}: unknown .*did you mean", problems)


def test_nothing_turns_off_what_the_base_turned_on(desk):
    desk.write(
        desk.good + "training: {early_stopping: {patience: 3}}\n", "base.yaml"
    )
    assert (
        desk.load(
            "base: base.yaml\ntraining: {early_stopping: null}\n"
        ).training.early_stopping
        is None
    )


def test_a_chain_of_bases_is_read_from_each_file_s_folder(desk, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text(
        desk.good + "training: {epochs: 1, seed: 1}\nlog: {graph: false}\n"
    )
    (tmp_path / "deep" / "b.yaml").write_text(
        "base: ../a.yaml\ntraining: {epochs: 2}\n"
    )
    (tmp_path / "c.yaml").write_text(
        "base: deep/b.yaml\ntraining: {steps: null, seed: 3}\n"
    )
    found = tftrain.load(tmp_path / "c.yaml")
    assert (found.training.epochs, found.training.seed, found.log.graph) == (
        2,
        3,
        False,
    )


def test_an_error_names_the_file_that_the_value_stands_in(desk):
    desk.write(
        "model: {name: mlp, hiden: [3]}\ndata: iris\noptimizer: adam\n",
        "base.yaml",
    )
    assert desk.problems("base: base.yaml\ntraining: {epochs: x}\n") == [
        "base.yaml:1:20: model.hiden: unknown argument of mlp; expected one of hidden, activation, output_activation, "
        "kernel_initializer, batch_norm, residual, dropout; did you mean 'hidden'?",
        "2:20: training.epochs: given the text 'x'; expected a whole number of at least 1 or null",
    ]


def test_a_circle_of_bases(desk):
    desk.write("base: config.yaml\n", "base.yaml")
    assert desk.problems("base: base.yaml\n") == [
        "base.yaml:1:7: base: 'config.yaml' builds upon itself"
    ]
    assert desk.problems("base: config.yaml\n") == [
        "1:7: base: 'config.yaml' builds upon itself"
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("\ufeffmodel: mlp\ndata: iris\noptimizer: adam\n".encode(), None),
        (b"model: mlp\r\ndata: iris\r\noptimizer: adam\r\n", None),
        (b"model: mlp\rdata: iris\roptimizer: adam\r", None),
        (
            "model: mlp # déjà\n".encode("latin-1"),
            "1:15: the byte 0xe9 is not UTF-8; save the file as UTF-8 text",
        ),
        (
            "# a\nmodel: é".encode("latin-1"),
            "2:8: the byte 0xe9 is not UTF-8; save the file as UTF-8 text",
        ),
        (
            "model: mlp".encode("utf-16"),
            "1:1: the byte 0xff is not UTF-8; save the file as UTF-8 text",
        ),
        (
            b"#" * (MAX_BYTES + 1),
            f" more than {MAX_BYTES} bytes; expected a config of some lines",
        ),
        (
            b"model: mlp\n\x00",
            "2:1: not valid YAML: the character '\\x00' is not allowed",
        ),
    ],
    ids=[
        "BOM",
        "CRLF",
        "CR",
        "latin-1",
        "latin-1 on line 2",
        "UTF-16",
        "too long",
        "NUL",
    ],
)
def test_the_bytes_of_a_file(desk, written, message):
    if message is None:
        assert desk.load(written) == desk.load(desk.good)
    else:
        assert desk.problems(written) == [message]


def test_files_that_cannot_be_read(desk, tmp_path):
    missing = (
        tmp_path / "none.yaml",
        "cannot be read: No such file or directory",
    )
    for path, reason in (missing, (tmp_path, "is a folder; expected a file")):
        with pytest.raises(tftrain.ConfigError) as caught:
            tftrain.load(path)
        assert caught.value.problems == [f"{path}: {reason}"]


def test_what_is_composed_holds_no_base(desk):
    desk.write(desk.good, "base.yaml")
    node = read_config(
        desk.write("base: base.yaml\nmodel: cnn\n"), ["training.epochs=3"]
    )
    assert to_plain(node) == {
        "model": "cnn",
        "data": "iris",
        "optimizer": "adam",
        "training": {"epochs": 3},
    }
    assert os.fspath(node.place.source) == "base.yaml"


def test_overrides_from_python():
    assert to_overrides("training.epochs=3") == ["training.epochs=3"]
    assert to_overrides(
        {
            "training.seed": np.int64(3),
            "optimizer.learning_rate": np.float32(0.5),
        }
    ) == [
        "training.seed=3",
        "optimizer.learning_rate=0.5",
    ]
