"""The curves of runs as a PNG, and folders that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tftrain.cli import main
from tftrain.reporting.metrics_file import to_json_line
from tftrain.reporting.plots.curves import (
    curves,
    curves_of,
    default_scalars,
    draw_curves,
    running_mean,
)
from tftrain.reporting.plots.style import BLUE, ORANGE


def write_run(folder, steps=100, slope=0.05, validated=True):
    folder.mkdir(parents=True)
    with open(folder / "metrics.jsonl", "wb") as file:
        for step in range(1, steps + 1):
            loss = 3 * np.exp(-slope * step)
            record = {
                "step": step,
                "wall_seconds": 0.1 * step,
                "loss": loss,
                "grad_norm": 2 * loss,
                "epoch": step / 10,
            }
            record |= {
                "accuracy": 1 - loss / 3,
                "grad_norm/000.hidden/kernel": loss,
            }
            held_out = (
                {"val_loss": loss + 0.1, "val_accuracy": 0.9}
                if validated and step % 10 == 0
                else {}
            )
            file.write(to_json_line(record | held_out))
    return folder


def ink(path):
    """Where a picture is not white."""
    return np.asarray(Image.open(path).convert("L")) < 250


def test_curves_of_one_run_and_of_two(tmp_path, monkeypatch, capsys):
    one, two = (
        write_run(tmp_path / "one"),
        write_run(tmp_path / "two", slope=0.02),
    )
    monkeypatch.chdir(tmp_path)
    assert (
        main(["plot", "one"]) == 0
        and capsys.readouterr().out == "one/curves.png\n"
    )
    assert (
        main(
            [
                "plot",
                "one",
                "two",
                "--out",
                "new/both.png",
                "--curves",
                "loss,grad_norm",
            ]
        )
        == 0
    )
    with (
        Image.open(one / "curves.png") as alone,
        Image.open("new/both.png") as both,
    ):
        assert (alone.format, both.format) == ("PNG", "PNG")
        assert (alone.size, both.size) == ((1650, 525), (1100, 525)), (
            "three panels, and two"
        )
    assert ink(one / "curves.png").mean() > 0.01 and sorted(
        Path("new").iterdir()
    ) == [Path("new/both.png")]
    assert not any(
        path.name.startswith(".draft")
        for path in [*one.iterdir(), *two.iterdir()]
    )


def test_what_is_drawn_unasked():
    history = dict.fromkeys(
        [
            "wall_seconds",
            "loss",
            "epoch",
            "accuracy",
            "depth_ratio",
            "grad_norm/a",
        ],
        ([1], [1.0]),
    )
    assert default_scalars(history) == ["loss", "accuracy", "grad_norm"]
    assert default_scalars(history | {"val_loss": ([1], [1.0])}) == [
        "loss",
        "grad_norm",
    ]
    assert default_scalars(
        history | dict.fromkeys(["val_loss", "val_accuracy"], ([1], [1.0]))
    ) == default_scalars(history)


def test_a_group_has_a_line_for_each_of_its_scalars():
    steps = np.arange(1, 6)
    history = {
        f"dead_units/{layer:03d}.relu": (steps, np.full(5, layer / 10))
        for layer in range(15)
    }
    [axes] = draw_curves({"": history}, ["dead_units/"], "one").axes
    assert [line.get_label() for line in axes.lines] == [
        f"{layer:03d}.relu" for layer in range(15)
    ]
    assert len({line.get_color() for line in axes.lines}) == 15, (
        "they go from dark to bright"
    )
    told = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert len(told) == 12 and told[-2:] == ["010.relu", "014.relu"]
    [axes] = draw_curves(
        {"a": history, "b": history}, ["dead_units/"], "both"
    ).axes
    assert {line.get_color() for line in axes.lines[:15]} != {
        line.get_color() for line in axes.lines[15:]
    }
    assert len({line.get_color() for line in axes.lines}) == 2
    assert axes.lines[0].get_alpha() < axes.lines[14].get_alpha()
    assert curves_of(history, "zero_grads/") == {}


def test_a_norm_that_falls_to_zero_has_a_logarithmic_axis_and_a_share_has_not():
    history = {
        "grad_norm/a/kernel": (np.arange(4), np.array([1e3, 1, 1e-3, 0])),
        "dead_units/a": (np.arange(4), np.arange(4) / 3),
    }
    norms, shares = draw_curves(
        {"": history}, ["grad_norm/", "dead_units/"], "one"
    ).axes
    assert (norms.get_yscale(), shares.get_yscale()) == ("log", "linear")


def test_only_what_is_noisy_is_drawn_pale_with_its_mean():
    steps = np.arange(200)
    smooth, noisy = (
        np.exp(-steps / 5.0) + 1e-3,
        np.exp(np.random.default_rng(0).normal(size=200)),
    )
    falling, wild = draw_curves(
        {"": {"falling": (steps, smooth), "wild": (steps, noisy)}},
        ["falling", "wild"],
        "x",
    ).axes
    assert len(falling.lines) == 1 and np.array_equal(
        falling.lines[0].get_ydata(), smooth
    )
    assert [line.get_alpha() for line in wild.lines] == [0.3, None]


def test_a_scalar_that_was_not_logged_is_told():
    scene = SimpleNamespace(
        step=4,
        history={
            "loss": (np.arange(3), np.ones(3)),
            "grad_norm/a/kernel": (np.arange(3), np.ones(3)),
        },
    )
    with pytest.raises(
        ValueError,
        match="scalars: given 'lss', of which nothing was logged; there are loss, grad_norm/",
    ):
        curves(scene, ["loss", "lss"])
    assert len(curves(scene, ["loss", "val_loss"]).axes) == 1, (
        "validation may still come"
    )
    scene.history["val_loss"] = scene.history["loss"]
    with pytest.raises(
        ValueError,
        match="scalars: given 'val_acc', of which nothing was logged",
    ):
        curves(scene, ["loss", "val_acc"])
    assert curves(SimpleNamespace(step=0, history={}), ["lss"]) is None


def test_rounding_is_no_curve():
    steps = np.arange(1, 6)
    [axes] = draw_curves(
        {"": {"norm": (steps, 1 + 1e-7 * np.sin(steps))}}, ["norm"], "one"
    ).axes
    assert axes.get_ylim() == pytest.approx((0.9, 1.1), rel=1e-5)


def test_each_run_has_its_colour_and_its_validation_is_dashed():
    steps = np.arange(1, 6)
    history = {
        "loss": (steps, 10.0**-steps),
        "val_loss": (steps, np.array([1, np.nan, 1, np.inf, 1])),
    }
    figure = draw_curves({"a": history, "b": history}, ["loss"], "both")
    [axes] = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    marks = lines.pop("NaN or infinite")
    assert (
        marks.get_xdata().tolist() == [2, 4] and marks.get_color() == "magenta"
    )
    assert [*lines] == [
        "a train",
        "a validation",
        "b train",
        "b validation",
    ] and axes.get_yscale() == "log"
    colours = [line.get_color() for line in lines.values()]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert [line.get_linestyle() for line in lines.values()] == [
        "-",
        "--",
        "-",
        "--",
    ]
    assert [*curves_of(history, "val_loss")] == ["validation"] and curves_of(
        history, "no"
    ) == {}
    assert np.isnan(lines["a validation"].get_ydata()).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_running_mean_leaves_out_what_is_not_finite():
    np.testing.assert_allclose(
        running_mean(np.array([1.0, 2, 3, np.nan, 5]), 3),
        [1.5, 2, 2.5, np.nan, 5],
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "run folder nowhere: there is no such folder"),
        (
            ["."],
            "run folder .: holds no metrics.jsonl, so it is no run; runs are within it: empty, one",
        ),
        (["empty"], "run folder empty: metrics.jsonl has no point yet"),
        (["one", "./one"], "given the same run twice; expected each once"),
        (
            ["one", "--curves", "acuracy"],
            "--curves: no run has a scalar 'acuracy'; there are loss, ",
        ),
        (
            ["one", "--out", "curves.jpg"],
            "python -m tftrain plot: --out curves.jpg: expected a name that ends in .png",
        ),
    ],
)
def test_what_cannot_be_drawn(tmp_path, monkeypatch, capsys, words, told):
    write_run(tmp_path / "one", steps=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["plot", *words])
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr().err
    assert status == 2 and said.startswith(told) and said.count("\n") == 1
    assert not list(tmp_path.rglob("*.png"))


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    write_run(tmp_path / "one", steps=2)
    assert (
        main(
            ["plot", str(tmp_path / "one"), "--out", "/proc/nowhere/curves.png"]
        )
        == 1
    )
    assert (
        "/proc/nowhere/curves.png cannot be written" in capsys.readouterr().err
    )


def test_it_answers_without_tensorflow(tmp_path):
    write_run(tmp_path / "one", steps=2)
    code = "import sys; from tftrain.cli import main; status = main(['plot', sys.argv[1]])\n"
    code += "sys.exit(status or bool({'keras', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one")],
        stdout=subprocess.DEVNULL,
    )
    assert done.returncode == 0


def test_a_colour_of_the_legend_means_the_same_in_every_panel():
    steps = np.arange(1, 6)
    names = [
        "loss",
        "val_loss",
        "val_accuracy",
        "grad_norm/a",
        "grad_norm/b",
        "nonfinite_grads/b",
        "val_loss_only",
    ]
    history = {name: (steps, steps * 1.0) for name in names}
    wanted = [
        "loss",
        "val_accuracy",
        "val_loss",
        "grad_norm/",
        "nonfinite_grads/",
    ]
    for runs in ({"": history}, {"one": history, "two": history}):
        looks = {}
        for axes in draw_curves(runs, wanted, "title").axes:
            for line in axes.lines:
                look = (
                    line.get_color(),
                    line.get_linestyle(),
                    line.get_alpha(),
                )
                looks.setdefault(line.get_label(), set()).add(look)
        assert {
            label: len(found) for label, found in looks.items()
        } == dict.fromkeys(looks, 1)
    legend = draw_curves({"": history}, ["val_loss", "loss"], "title").legends[
        0
    ]
    pairs = zip(legend.get_texts(), legend.get_lines(), strict=True)
    assert {text.get_text(): line.get_color() for text, line in pairs} == {
        "train": BLUE,
        "validation": ORANGE,
    }
