"""Gradients against differences of the loss, from the command line."""

from __future__ import annotations

import re
from contextlib import nullcontext

import keras
import pytest
import tensorflow as tf

from tftrain.cli import main
from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.diagnostics.gradient_compare import GradientComparison, compare
from tftrain.diagnostics.tables import gradient_check_table
from tftrain.trainer.build import open_objective

HEAD = "data: {name: iris, batch_size: 8}\noptimizer: sgd\n"


def model(*layers):
    lines = "".join(f"    - {layer}\n" for layer in layers)
    return f"model:\n  name: sequential\n  layers:\n{lines}"


def checked(desk, capsys, text, *words):
    """(exit status, the rows of the table by parameter, standard output, standard error)"""
    desk.write(HEAD + text, "checked.yaml")
    status = main(["check-gradients", "--config", "checked.yaml", *words])
    out, err = capsys.readouterr()
    rows = {
        line.split()[0]: line.split()
        for line in out.splitlines()
        if re.match(r"\d{3}\.", line)
    }
    assert max(map(len, out.splitlines()), default=0) <= 100
    return status, rows, out, err


def test_what_is_right_agrees(desk, capsys):
    """Dropout, statistics of a batch, a penalty; the type of numbers is as before."""
    dense = "{name: dense, units: 40, kernel_regularizer: l2}"
    more = (
        "{name: activation, activation: tanh}",
        "{name: dropout, rate: 0.5}",
        "{name: dense, units: 3}",
    )
    text = (
        model(dense, "batch_normalization", *more)
        + "training: {precision: mixed_float16}\n"
    )
    status, rows, out, _ = checked(desk, capsys, text, "--samples", "30")
    assert (
        status == 0
        and keras.config.floatx()
        == "float32"
        == keras.config.dtype_policy().name
    )
    assert rows.keys() >= {
        "000.dense/kernel",
        "001.batch_normalization/gamma",
        "002.dense_1/bias",
    }
    assert (
        rows["000.dense/kernel"][1:4] == ["30", "of", "160"]
        and "no gradient is wrong" in out
    )
    assert {row[-1] for row in rows.values()} == {"agrees", "0"}
    assert (
        rows["000.dense/bias"][-1] == "0"
    )  # the mean is subtracted, and a bias with it


def test_a_wrong_gradient_is_named(desk, capsys):
    layers = (
        "{name: dense, units: 5, activation: tanh}",
        "{name: 'gradients:Twice', error: 1e-3}",
        "{name: dense, units: 3}",
    )
    status, rows, out, _ = checked(desk, capsys, model(*layers))
    assert status == 1
    assert {name for name, row in rows.items() if row[-1] == "WRONG"} == {
        "001.twice/factor"
    }
    assert "1 of 5 gradients are wrong: 001.twice/factor.\n" in out
    assert (
        "the last layer where it is wrong is 001.twice: the fault is there, or in what stands between"
        in out
    )
    assert checked(desk, capsys, model(*layers).replace("1e-3", "0.0"))[0] == 0


def test_the_gradient_is_the_one_that_training_takes(desk, capsys):
    """That of a function that takes the variable itself from around it."""
    text = model(
        "{name: dense, units: 5}",
        "'gradients:Around'",
        "{name: dropout, rate: 0.5}",
        "{name: dense, units: 3}",
    )
    status, rows, out, _ = checked(desk, capsys, text)
    assert status == 0, out
    assert (
        rows["001.around/factor"][-1] == "agrees"
        and float(rows["001.around/factor"][4]) != 0
    )


def test_a_loss_that_is_not_finite_is_told(desk, capsys):
    text = model(
        "{name: dense, units: 5, activation: exponential}",
        "{name: dense, units: 1}",
    )
    text += "loss: mean_squared_error\n"
    desk.write(
        text
        + "data: {name: large_features, largest: 1e6, batch_size: 8}\noptimizer: sgd\n",
        "inf.yaml",
    )
    assert main(["check-gradients", "--config", "inf.yaml"]) == 2
    said = capsys.readouterr().err
    assert re.search(
        "the loss of the first batch is (nan|inf), so there is nothing to compare",
        said,
    )
    assert said.count("\n") == 1


def test_kinks_are_not_called_wrong(desk, capsys):
    """Biases start at 0, where the point (0, 0) of XOR puts each ReLU at its kink."""
    text = "model: {name: mlp, hidden: [4]}\ndata: {name: xor, batch_size: full}\noptimizer: sgd\n"
    desk.write(text, "kinks.yaml")
    assert main(["check-gradients", "--config", "kinks.yaml"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^000\.hidden_1/bias .* 4 +not checked$", out, re.MULTILINE
    )
    assert re.search(r"^000\.hidden_1/kernel .* agrees$", out, re.MULTILINE)
    assert (
        "\nno gradient is wrong of the 3 that could be compared; " in out
        and "kinks: numbers, left out" in out
    )
    assert (
        "not checked, for all of their numbers that were looked at are near kinks: 000.hidden_1/bias.\n"
        in out
    )


def test_where_nothing_is_compared_nothing_is_said_to_be_right(desk, capsys):
    status, rows, out, _ = checked(desk, capsys, model("'gradients:Bent'"))
    assert status == 1 and rows["000.bent/bend"][-2:] == ["not", "checked"]
    assert "no gradient could be compared" in out and "is wrong" not in out


def test_a_loss_that_draws_anew_in_each_pass_is_refused(desk, capsys):
    layers = (
        "{name: dense, units: 5}",
        "'gradients:Blended'",
        "{name: dense, units: 3}",
    )
    status, _, out, err = checked(desk, capsys, model(*layers))
    assert (status, out) == (2, "") and err.count("\n") == 1
    said = r"checked.yaml:4:9: model: the loss of a batch is [\d.]+ in one pass and [\d.]+"
    said += r" in an equal one: in blended \("
    assert re.match(
        rf"{said}Blended\) \S+ \(RandomUniform\) draws .*; expected .* keras.random.SeedGenerator",
        err,
    )
    for kind in (
        "{name: 'gradients:Blended', seeded: true}",
        "'gradients:Shared'",
    ):
        status, rows, out, err = checked(
            desk, capsys, model(layers[0], kind, layers[2]), "--samples", "3"
        )
        assert status == 0 and {row[-1] for row in rows.values()} == {
            "agrees"
        }, out + err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            model(
                "{name: dense, units: 5}",
                "{name: dropout, rate: 0.1}",
                "'gradients:Squared'",
                "{name: dense, units: 3}",
            ),
            "000.dense: the fault is there, or in what stands between it and 001.dense_1: 000.squared (Squared) (or",
        ),
        (
            model(
                "{name: 'gradients:Twice', error: 0.1}",
                "{name: dropout, rate: 0.1}",
                "{name: dense, units: 3}",
            ),
            "000.twice: the fault is there, or in what stands between it and 001.dense: 000.dropout (Dropout) (or",
        ),
        (
            "model: 'gradients:Late'\n",
            "001.first: the fault is there, or in what stands between it and 000.last: 001.square (Squared) (or",
        ),
        (
            "model: 'gradients:branches'\n",
            "001.left: the fault is there, or in what stands between it and 003.top: 001.square (Squared) (or",
        ),
    ],
)
def test_what_stands_behind_the_last_wrong_layer_is_named(
    desk, capsys, text, said
):
    """In the order of the calls, along each branch; without Keras' own layers if there are others."""
    status, _, out, _ = checked(desk, capsys, text)
    assert (
        status == 1
        and f"the last layer where it is wrong is {said}"
        in out.replace("\n", " ")
    )


def test_names_are_cut_for_a_narrow_terminal_alone_and_verdicts_never():
    right = GradientComparison(
        "000.a_layer_of_a_long_name/recurrent_kernel",
        9000,
        20,
        0,
        1e-10,
        (1, 20),
        0.5,
        0.5,
        True,
        False,
    )
    found = [right, right._replace(name="001.output/bias", agrees=False)]
    assert f"{right.name}  20 of 9,000 " in gradient_check_table(
        found, None, None
    )
    for width in (90, 40):
        rows = gradient_check_table(found, None, width).splitlines()[2:4]
        assert (
            rows[0].endswith(" agrees")
            and rows[1].endswith(" WRONG")
            and rows[0].startswith("000.")
        )
        assert right.name not in rows[0] and (len(rows[0]) == 90 or width < 90)


def test_half_of_the_numbers_are_drawn_where_the_gradient_is_not_0():
    """Of an embedding of 3000 words, where a batch has two."""
    keras.utils.set_random_seed(0)
    words = keras.layers.Embedding(3000, 1)
    network = keras.Sequential(
        [keras.Input((2,), dtype="int32"), words, keras.layers.Flatten()]
    )
    objective = KerasObjective(network, keras.losses.MeanSquaredError())
    batch = Batch(tf.constant([[5, 7]]), tf.constant([[1.0, 2.0]]))
    (found,) = compare(objective, batch, ["words"], (4, 0), nullcontext)
    assert found.checked == 4 and found.reverse != 0


def test_crowded_kinks(desk, capsys):
    """Empty corners of images hold thousands of ReLUs at their kink, and more of them near it."""
    network = (
        "model: {name: cnn, filters: [8, 8], hidden: [8], dropout: 0.25}\n"
    )
    desk.write(
        f"{network}data: {{name: digits, batch_size: 32}}\noptimizer: sgd\n",
        "crowded.yaml",
    )
    status = main(["check-gradients", "--config", "crowded.yaml"])
    assert status == 0, capsys.readouterr().out


def test_what_cannot_be_checked(desk, capsys):
    status, _, out, err = checked(desk, capsys, "model: 'gradients:single'\n")
    assert (status, out) == (
        2,
        "",
    ) and "000.dense/kernel is in float32 by the model's own choice" in err
    with pytest.raises(SystemExit, match="2"):
        main(["check-gradients", "--config", "checked.yaml", "--samples", "0"])
    assert (
        "--samples 0: expected a whole number of at least 1"
        in capsys.readouterr().err
    )


def test_an_objective_alone_is_that_of_the_run(desk):
    data, objective = open_objective(desk.load(desk.good))
    assert data.train.examples == 150 and [
        tuple(param.shape) for param in objective.params
    ][0] == (4, 128)


def test_a_layer_of_several_numbers_is_told_by_the_one_that_is_wrong(
    desk, capsys
):
    status, rows, out, _ = checked(desk, capsys, "model: 'towers:normed'\n")
    [wrong] = [name for name, row in rows.items() if row[-1] == "WRONG"]
    assert (
        status == 1
        and wrong.startswith("000.")
        and "001.normed" in " ".join(rows)
    )
    assert (
        f"the last layer where it is wrong is {wrong.rpartition('/')[0]}:"
        in " ".join(out.split())
    )
