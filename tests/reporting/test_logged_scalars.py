"""metrics.jsonl, the event files and `log.scalars` agree: the same scalars, with the same values, at the same steps."""

import re

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import tftrain
from tftrain.reporting.metrics_file import read_metrics

RICH = """
model: {name: mlp, hidden: [8, 8, 8], activation: relu}
data: {name: iris, validation: 0.2, batch_size: 24}
metrics: [accuracy, true_positives]
optimizer: {name: sgd, learning_rate: 0.1}
gradients: {clip: [{name: value, limit: 0.5}, {name: percentile, window: 4}, {name: global_norm, limit: 0.1}]}
training: {epochs: 4}
log: {histograms: [gradients, weights, updates, activations], probes: [{name: weights, only: output, most: 2}]}
"""
SMALL = """
model: {name: mlp, hidden: [4]}
data: {name: iris, validation: 0.2, batch_size: 24}
optimizer: {name: sgd, learning_rate: 0.1}
log: {graph: false}
"""
STREAM = """
import numpy as np
import tensorflow as tf


def stream():
    x = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
    return {"train": tf.data.Dataset.from_tensor_slices((x, x[:, :1])), "validation": (x[:30], x[:30, :1])}
"""
# What the README says of the names: all others are the same.
RENAMED = {
    r"depth_ratio": "Overview/depth_ratio_decades",
    r"absgrad_(p\d\d)": r"Overview/\1_log10_absgrad",
    r"(grad_norm|grad_norm_max|clipped_grad_norm)": r"Overview/log10_\1",
    r"(grad_norm|clipped_grad_norm|update_ratio)/(.*)": r"log10_\1/\2",
    r"clip/(.*)/(norm_before|norm_after)": r"transforms/clip/\1/log10_\2",
    r"clip/(.*)": r"transforms/clip/\1",
    r"zero_grad_fraction": "zero_grads/all",
    r"nonfinite_grads": "nonfinite_grads/all",
    r"(activation_mean|activation_std)/(.*)": r"layer_\1/\2",
    r"dead_units/(.*)": r"layer_dead/\1",
    r"zero_activations/(.*)": r"layer_zeros/\1",
    r"saturated/(.*)": r"layer_saturated/\1",
    r"([^/]*)": r"Overview/\1",
}


def tag_of(name):
    pattern = next(
        (pattern for pattern in RENAMED if re.fullmatch(pattern, name)), None
    )
    tag = re.sub(pattern, RENAMED[pattern], name, count=1) if pattern else name
    return tag.replace("layer_activation_", "layer_")


def drawn(folder):
    files = event_accumulator.EventAccumulator(
        str(folder), {"scalars": 0, "tensors": 1, "images": 1}
    ).Reload()
    return {
        tag: [(event.step, event.value) for event in files.Scalars(tag)]
        for tag in files.Tags()["scalars"]
    }


def steps_of(folder, name="loss"):
    series = read_metrics(folder / "metrics.jsonl").get(name)
    return [] if series is None else series.steps.tolist()


def train(folder, text, *overrides, **options):
    path = folder.parent / "config.yaml"
    path.write_text(text)
    return tftrain.train(tftrain.load(path, overrides), folder, **options)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich") / "run"
    train(folder, RICH)
    return folder


def test_every_scalar_is_in_both_files_with_one_value(rich):
    curves = read_metrics(rich / "metrics.jsonl")
    events = {"": drawn(rich), "val": drawn(rich / "val")}
    compared = set()
    for name, series in curves.items():
        if name in ("epoch", "wall_seconds"):  # straight lines
            continue
        run = "val" if name.startswith("val_") else ""
        tag = tag_of(name.removeprefix("val_"))
        values = series.values.astype(np.float64)
        if re.search("log10|decades", tag):
            assert (values[np.isfinite(values)] >= 0).all(), name
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log10(values)
        shown = values != -np.inf  # the log10 of 0
        if shown.any():
            steps, found = zip(*events[run][tag], strict=True)
            assert list(steps) == series.steps[shown].tolist(), name
            # Event files hold float32.
            np.testing.assert_allclose(
                found, values[shown], rtol=2e-7, atol=2e-7, err_msg=name
            )
        compared.add((run, tag))
    others = {
        (run, tag) for run, curves in events.items() for tag in curves
    } - compared
    limits = {
        "Overview/log10_clip_limit_percentile",
        "Overview/log10_clip_limit_global_norm",
    }
    assert {
        tag for _, tag in others if not tag.startswith("results/")
    } == limits
    for tag in limits:  # told twice: beside the norms of the whole gradient too
        [clip] = re.findall("limit_(.*)", tag)
        plain = [
            value for _, value in events[""][f"transforms/clip/{clip}/limit"]
        ]
        np.testing.assert_allclose(
            [value for _, value in events[""][tag]], np.log10(plain), rtol=1e-6
        )


def test_what_a_ratio_is_called_is_a_ratio(rich):
    curves = read_metrics(rich / "metrics.jsonl")
    first, last = (
        curves["grad_norm/000.hidden_1/kernel"],
        curves["grad_norm/002.hidden_3/kernel"],
    )
    np.testing.assert_allclose(
        curves["depth_ratio"].values, first.values / last.values, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("cadence", "steps"),
    [
        ("1 epoch", [5, 10, 15, 20]),
        ("2 epochs", [10, 20]),
        ("7", [7, 14, 20]),
        ("9 epochs", [20]),
        ("1", range(1, 21)),
    ],
)
def test_points_of_training_are_where_log_scalars_says(
    tmp_path, cadence, steps
):
    train(
        tmp_path / "run", SMALL, "training.epochs=4", f"log.scalars={cadence}"
    )
    assert steps_of(tmp_path / "run") == list(steps)
    assert steps_of(tmp_path / "run", "val_loss") == [
        5,
        10,
        15,
        20,
    ]  # as validate_every says
    assert [
        step for step, _ in drawn(tmp_path / "run")["Overview/loss"]
    ] == list(steps)
    measured = steps_of(tmp_path / "run", "zero_grad_fraction")
    assert set(measured) <= set(steps) and measured[-1] == 20


def test_they_are_there_in_a_run_that_is_resumed_and_in_a_stream(
    tmp_path, monkeypatch
):
    (tmp_path / "stream_of_points.py").write_text(STREAM)
    monkeypatch.syspath_prepend(tmp_path)
    text = re.sub(
        "data: .*",
        "data: {name: 'stream_of_points:stream', batch_size: 32}",
        SMALL,
    )
    settings = ("log.scalars=3 epochs", "training.validate_every=5")
    train(tmp_path / "whole", text, *settings, "training.epochs=7")
    train(tmp_path / "parts", text, *settings, "training.steps=17")
    resumed = train(
        tmp_path / "parts", text, *settings, "training.epochs=7", resume=True
    )
    assert steps_of(tmp_path / "whole") == [12, 24, 28]
    assert steps_of(tmp_path / "parts") == [
        12,
        17,
        24,
        28,
    ]  # the first part had step 17 for its last one
    assert steps_of(tmp_path / "parts", "val_loss") == [
        5,
        10,
        15,
        17,
        20,
        25,
        28,
    ]
    assert (
        resumed.history["val_loss"].values[-1]
        == read_metrics(tmp_path / "whole/metrics.jsonl")["val_loss"].values[-1]
    )


def test_without_a_word_there_is_a_point_beside_each_validation_and_each_histogram(
    tmp_path,
):
    train(
        tmp_path / "run",
        SMALL,
        "training.epochs=4",
        "training.validate_every=3",
        "log.histograms_every=4",
    )
    assert {*range(3, 21, 3), *range(4, 21, 4)} <= set(
        steps_of(tmp_path / "run")
    )


def test_histograms_that_are_asked_for_have_their_point_beside_them(tmp_path):
    train(
        tmp_path / "run",
        SMALL,
        "training.epochs=4",
        "log.scalars=10",
        "log.histograms_every=8",
    )
    assert steps_of(tmp_path / "run") == [8, 10, 16, 20]


def test_what_is_counted_is_the_sum_since_the_last_point(tmp_path):
    text = SMALL.replace("optimizer", "metrics: [true_positives]\noptimizer", 1)
    totals = {}
    for cadence in ("1 epoch", "4", "auto"):
        folder = tmp_path / cadence.replace(" ", "_")
        totals[cadence] = train(
            folder, text, "training.epochs=4", f"log.scalars={cadence}"
        ).history["true_positives"]
    assert len({series.values.sum() for series in totals.values()}) == 1, (
        "no step is lost or counted twice"
    )
    assert (
        len(totals["1 epoch"].values) == 4
        and totals["1 epoch"].values.sum() > 0
    )
