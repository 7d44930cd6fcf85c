"""Pictures of whole runs: when they are drawn, where they are, and that they change nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

import tftrain
from tftrain.reporting.metrics_file import read_metrics
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.trainer.build import build_run
from tftrain.trainer.plot_context import PlotContextFactory

# Dropout, moving averages, a rate that goes by the points logged: what a picture could disturb.
TEXT = """
model: {name: mlp, hidden: [6, 5], dropout: 0.2, batch_norm: true}
data: {name: moons, examples: 90, batch_size: 20, validation: 0.2}
optimizer:
  name: adam
  learning_rate: {name: plateau, monitor: loss, patience: 1, min_delta: 1, then: 0.02}
gradients: {clip: [{name: percentile, percent: 50, window: 5}]}
training: {steps: 30, seed: 5}
checkpoint: {every: 15}
log: {scalars: 7, histograms_every: never, graph: false}
"""
ALL = """
log:
  plots:
    - {name: decision_map, at: [0, 11, 99 epochs]}
    - {name: weights, every: 10}
    - {name: gradients, at: [3]}
    - {name: gradients, at: [3], clipped: true}
    - gradient_map
    - {name: gradient_flow, every: 3 epochs}
    - {name: curves, every: 30}
    - {name: "paintings:stripes", at: [0, 1 epoch], shade: 70}
"""
STOPPED = ["training.steps=14"]  # where there is a point in any case


def load(folder, text, *flags):
    (folder / "run.yaml").write_text(text)
    return tftrain.load(folder / "run.yaml", flags)


def image_steps(folder):
    found = event_accumulator.EventAccumulator(
        str(folder), {"images": 0, "tensors": 0}
    )
    found.Reload()
    tags = [
        tag
        for tag in found.Tags()["tensors"]
        if found.SummaryMetadata(tag).plugin_data.plugin_name == "images"
    ]
    return {
        tag: [
            (one.step, one.tensor_proto.string_val)
            for one in found.Tensors(tag)
        ]
        for tag in tags
    }


def bits(result):
    return [
        np.asarray(variable).tobytes() for variable in result.model.variables
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, own_parts):
    """The same run without and with pictures."""
    folder = tmp_path_factory.mktemp("gallery")
    plain = tftrain.train(load(folder, TEXT), folder / "plain")
    (folder / "base.yaml").write_text(TEXT)
    painted = tftrain.train(
        load(folder, "base: base.yaml" + ALL), folder / "painted"
    )
    return plain, painted


def test_pictures_change_nothing(runs):
    plain, painted = runs
    assert bits(plain) == bits(painted)
    assert plain.results == painted.results
    curves = [read_metrics(run.folder / "metrics.jsonl") for run in runs]
    assert len(set(curves[0]["learning_rate"].values)) > 1, (
        "the rate went by the points, so more of them would show"
    )
    for name in curves[0].keys() - {
        "wall_seconds",
        "steps_per_second",
        "step_ms",
    }:
        for mine, theirs in zip(curves[0][name], curves[1][name], strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
    assert not (
        plain.folder / "pictures"
    ).exists() and "pictures" in painted_time(painted)


def painted_time(result):
    return json.loads((result.folder / "results.json").read_text())["time"]


def test_they_are_drawn_when_they_are_due(runs):
    steps = {}
    for path in sorted((runs[1].folder / "pictures").iterdir()):
        name, _, step = path.stem.rpartition("-")
        steps.setdefault(name, []).append(int(step))
    assert steps == {
        "decision_map": [0, 11, 30],
        "weights": [0, 10, 20, 30],
        "gradients": [3],
        "gradients_2": [3],
        "gradient_map": [8, 12, 16, 20, 24, 28, 30],
        "gradient_flow": [12, 24, 30],
        "curves": [30],
        "stripes": [0, 4],
    }


def test_tensorboard_has_the_same_pictures(runs):
    shown = image_steps(runs[1].folder)
    assert {tag: [step for step, _ in found] for tag, found in shown.items()}[
        "pictures/decision_map"
    ] == [0, 11, 30]
    assert len(shown) == 8
    for tag, found in shown.items():
        for step, (width, height, png) in found:
            file = (
                runs[1].folder
                / "pictures"
                / f"{tag.partition('/')[2]}-{step:08d}.png"
            )
            pixels = tf.io.decode_png(file.read_bytes()).numpy()
            assert (
                pixels.shape[:2] == (int(height), int(width))
                and file.read_bytes() == png
            )
    maps = [png for _, (_, _, png) in shown["pictures/decision_map"]]
    assert len(set(maps)) == 3, "the map moves with the model"
    stripes = tf.io.decode_png(shown["pictures/stripes"][0][1][2]).numpy()
    assert stripes.shape == (4, 5, 3) and (stripes == 70).all()


def test_a_resumed_run_has_the_same_pictures(runs, tmp_path):
    (tmp_path / "base.yaml").write_text(TEXT)
    some = "[{name: decision_map, at: [30]}, {name: weights, at: [10, 20]}, {name: gradient_flow, at: [24]}]"
    first, second = (
        load(tmp_path, f"base: base.yaml\nlog: {{plots: {some}}}", *flags)
        for flags in (STOPPED, ())
    )
    tftrain.train(first, tmp_path / "run")
    assert bits(tftrain.train(second, tmp_path / "run", resume=True)) == bits(
        runs[1]
    )
    for name in (
        "weights-00000010",
        "weights-00000020",
        "decision_map-00000030",
        "gradient_flow-00000024",
    ):
        mine, theirs = (
            folder / "pictures" / f"{name}.png"
            for folder in (tmp_path / "run", runs[1].folder)
        )
        assert mine.read_bytes() == theirs.read_bytes(), name


def test_a_run_that_ends_early_has_its_last_pictures(tmp_path):
    early = "\ntraining: {steps: 30, early_stopping: {monitor: loss, patience: 1, min_delta: 100}}\n"
    (tmp_path / "base.yaml").write_text(TEXT)
    text = f"base: base.yaml{early}log: {{plots: [weights, {{name: weights, at: [0]}}]}}\n"
    result = tftrain.train(load(tmp_path, text), tmp_path / "run")
    assert result.stopped and int(result.history["loss"].steps[-1]) == 14
    names = sorted(
        path.name for path in (tmp_path / "run" / "pictures").glob("weights-*")
    )
    assert names[-1] == "weights-00000014.png"
    assert len(list((tmp_path / "run" / "pictures").glob("weights_2-*"))) == 1


def test_of_sequences_the_lag_is_drawn_and_of_an_embedding_the_gradients(
    tmp_path, own_parts
):
    quick = "optimizer: sgd\ntraining: {steps: 1}\nlog: {histograms_every: never, graph: false, plots: "
    sequences = "model: {name: rnn, units: [4], cell: simple}\ndata: {name: sine, examples: 40, length: 12}\n"
    words = "model: 'words:pooled'\ndata: 'words:sentences'\n"
    tftrain.train(
        load(tmp_path, sequences + quick + "{name: time_lag, at: [1]}}"),
        tmp_path / "lag",
    )
    clipped = "{name: gradients, at: [1], clipped: true}}\ngradients: {clip: {name: norm, limit: 1e-3}}"
    tftrain.train(load(tmp_path, words + quick + clipped), tmp_path / "words")
    drawn = [
        path.name
        for folder in ("lag", "words")
        for path in (tmp_path / folder / "pictures").iterdir()
    ]
    assert drawn == ["time_lag-00000001.png", "gradients-00000001.png"]


def test_pictures_of_all_kinds_hang_side_by_side(tmp_path):
    """Each has graphs of its own, of the same batch."""
    other = "000.hidden_1.simple_rnn_cell/bias.0"
    surfaces = f"{{name: loss_surface, resolution: 4}}, {{name: loss_surface, resolution: 4, y: {other}}}"
    kinds = f"[difference_error, {surfaces}, signal_flow, "
    text = "model: {name: rnn, units: [4], cell: simple}\noptimizer: sgd\n"
    text += "data: {name: sine, examples: 40, length: 12}\n"
    log = f"log: {{histograms_every: never, graph: false, plots: {kinds}time_lag, gradients, weights]}}\n"
    tftrain.train(
        load(tmp_path, text + log + "training: {steps: 1}\n"), tmp_path / "run"
    )
    drawn = {
        path.name.rpartition("-")[0]
        for path in (tmp_path / "run" / "pictures").iterdir()
    }
    assert drawn == {
        "difference_error",
        "loss_surface",
        "loss_surface_2",
        "signal_flow",
        "time_lag",
        "gradients",
        "weights",
    }


def context_factory(run):
    return PlotContextFactory(
        run.objective,
        run.step_spec.method,
        run.step_spec.transform,
        run.state,
        run.data.train,
        run.data.facts,
        run.strategy,
    )


def test_many_losses_are_those_of_one_after_the_other(tmp_path):
    run = build_run(load(tmp_path, TEXT))  # with dropout and moving averages
    before = [
        np.asarray(variable).tobytes() for variable in run.state.model.variables
    ]
    scenes, random = context_factory(run), np.random.default_rng(0)
    params = [param.numpy() for param in run.objective.params]
    places, values, one_by_one = (
        ((0, 3), (0, 5), (3, 1)),
        random.normal(size=(7, 3)),
        [],
    )
    for point in values.astype(np.float32):
        moved = [param.copy() for param in params]
        for (param, place), value in zip(places, point, strict=True):
            moved[param].ravel()[place] = value
        one_by_one.append(scenes.loss(moved))
    np.testing.assert_allclose(
        scenes.losses(places, values), one_by_one, rtol=1e-6
    )  # of float32
    assert len(set(one_by_one)) == 7
    assert [
        np.asarray(variable).tobytes() for variable in run.state.model.variables
    ] == before


@pytest.mark.parametrize(
    ("picture", "kind", "told"),
    [
        (
            "time_lag",
            InputError,
            "run.yaml:3:14: log.plots: time_lag: given a model without sequences; expected",
        ),
        (
            "{name: weights, only: conv}",
            InputError,
            "log.plots: weights: only: given 'conv', which is in no param",
        ),
        (
            "'paintings:number'",
            InputError,
            "paintings:number: gave int; expected a figure of matplotlib, or uint8 [",
        ),
        (
            "{name: 'paintings:stripes', breaks_at: 0}",
            UserCodeError,
            "raised ZeroDivisionError:",
        ),
    ],
)
def test_what_cannot_be_drawn_is_told_before_there_is_a_folder(
    tmp_path, own_parts, picture, kind, told
):
    (tmp_path / "base.yaml").write_text(TEXT)
    config = load(tmp_path, f"base: base.yaml\nlog:\n      plots: {picture}\n")
    with pytest.raises(kind) as caught:
        tftrain.train(config, tmp_path / "run")
    assert told in str(caught.value) and not (tmp_path / "run").exists()


def test_a_picture_that_fails_later_does_not_end_the_run(
    runs, tmp_path, own_parts
):
    (tmp_path / "base.yaml").write_text(TEXT)
    config = load(
        tmp_path,
        "base: base.yaml\nlog: {plots: {name: 'paintings:stripes', every: 10, breaks_at: 15}}\n",
    )
    with pytest.warns(
        UserWarning,
        match=r"(?s)ZeroDivisionError.*this plot is disabled for the rest of the run",
    ):
        result = tftrain.train(config, tmp_path / "run")
    assert bits(result) == bits(runs[0])
    names = sorted(
        path.name for path in (tmp_path / "run" / "pictures").iterdir()
    )
    assert names == ["stripes-00000000.png", "stripes-00000010.png"]
