"""Whole runs, from a config to what lies in the folder."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

import tftrain
from tftrain.cli import main
from tftrain.reporting.metrics_file import read_metrics
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.runtime.run_dir import RunFolderError

CONFIGS = Path(__file__).parent.parent.parent / "configs"
GROUPS = ("grad_hist_log10", "update_hist_log10", "weight_hist", "layer_hist")
# Dropout, moments, a schedule, clips, a short last batch and a metric with state: all that a resume must bring back.
SMALL = """
model: {name: mlp, hidden: [16, 8], dropout: 0.2, batch_norm: true}
data: {name: wine, batch_size: 32, validation: 0.2, test: 0.1, preprocess: standardize}
optimizer: {name: adamw, learning_rate: {name: warmup, steps: 1 epoch, then: 1e-2}}
gradients: {clip: [{name: value, limit: 0.05}, {name: global_norm, limit: 0.2}]}
training: {epochs: 6, seed: 3}
log: {scalars: 2, histograms_every: 5, histograms: [gradients, weights, updates, activations]}
checkpoint: {every: 3}
"""


@pytest.fixture
def config(tmp_path):
    def load(*overrides, text=SMALL):
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return tftrain.load(path, overrides)

    return load


def events(folder):
    found = event_accumulator.EventAccumulator(
        str(folder), {"histograms": 0, "tensors": 0, "scalars": 0}
    )
    found.Reload()
    return found


def weights(model):
    return [np.asarray(variable) for variable in model.variables]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(SMALL)
    return tftrain.train(tftrain.load(folder / "small.yaml"), folder / "run")


def test_the_result_holds_curves_model_and_figures(finished):
    steps, losses = finished.history["loss"]
    assert (
        steps.dtype == np.int64
        and steps[-1] == 24
        and len(losses) == len(steps)
    )
    assert losses[-1] < losses[0]
    assert finished.results.keys() == {"train", "validation", "test"}
    assert finished.results["test"]["accuracy"] > 0.5
    assert finished.results["validation"]["loss"] == pytest.approx(
        finished.history["val_loss"].values[-1], rel=1e-6
    )
    assert finished.stopped is None and not finished.failed


def test_what_lies_in_the_folder(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {
        "config.yaml",
        "metrics.jsonl",
        "model.keras",
        "results.json",
        "checkpoints",
        "val",
    } <= names
    results = json.loads((finished.folder / "results.json").read_text())
    assert (
        results["steps"] == 24 and results["test"] == finished.results["test"]
    )
    took = results["time"]
    assert {
        "compiling",
        "step",
        "validation",
        "checkpoints",
        "writing",
    } <= took.keys() and min(took.values()) >= 0
    assert (
        0.5 * results["seconds"] < sum(took.values()) < results["seconds"]
    )  # the rest: the last figures, the model
    lines = [
        json.loads(line)
        for line in (finished.folder / "metrics.jsonl").read_text().splitlines()
    ]
    assert all(
        {
            "step",
            "loss",
            "accuracy",
            "grad_norm",
            "clipped_grad_norm",
            "clip_rate",
        }
        <= line.keys()
        for line in lines
    )
    # every 2 steps, histograms every 5, validation at the end of each epoch of 4 steps
    assert [line["step"] for line in lines] == [
        2,
        4,
        5,
        6,
        8,
        10,
        12,
        14,
        15,
        16,
        18,
        20,
        22,
        24,
    ]
    assert [line["step"] for line in lines if "val_loss" in line] == [
        4,
        8,
        12,
        16,
        20,
        24,
    ]


def test_the_saved_config_repeats_the_run(finished, tmp_path):
    again = tftrain.train(
        tftrain.load(finished.folder / "config.yaml"), tmp_path / "again"
    )
    assert (again.folder / "config.yaml").read_text() == (
        finished.folder / "config.yaml"
    ).read_text()
    for one, other in zip(
        weights(finished.model), weights(again.model), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_clipping_is_seen_before_and_after(finished):
    before, after = (
        finished.history["grad_norm"].values,
        finished.history["clipped_grad_norm"].values,
    )
    assert np.all(after <= 0.2 * (1 + 1e-6)) and np.all(
        after <= before * (1 + 1e-6)
    )
    assert (
        before.max() > 0.2 and finished.history["clip_rate"].values.max() == 1
    )
    parts = [
        series.values[-1]
        for name, series in finished.history.items()
        if name.startswith("grad_norm/")
    ]
    assert np.sqrt(np.sum(np.square(parts))) == pytest.approx(
        before[-1], rel=1e-5
    )  # float32 sums


def test_what_tensorboard_reads(finished):
    training, validation = (
        events(finished.folder),
        events(finished.folder / "val"),
    )
    scalars = set(training.Tags()["scalars"])
    overview = (
        "loss",
        "accuracy",
        "learning_rate",
        "log10_grad_norm",
        "log10_clipped_grad_norm",
        "log10_clip_limit",
    )
    overview = {
        f"Overview/{name}"
        for name in (*overview, "clip_rate", "step_ms", "depth_ratio_decades")
    }
    assert overview <= scalars
    overview = sorted(tag for tag in scalars if tag.startswith("Overview/"))
    assert (
        overview.index("Overview/loss") < 12
    )  # on the first page of TensorBoard, with all norms
    low, middle, high = (
        training.Scalars(f"Overview/p{percent}_log10_absgrad")
        for percent in ("05", "50", "95")
    )
    assert [point.step for point in middle] == [5, 10, 15, 20, 24]
    assert all(
        a.value < b.value < c.value
        for a, b, c in zip(low, middle, high, strict=True)
    )
    assert {
        "log10_grad_norm/000.hidden_1/kernel",
        "log10_clipped_grad_norm/004.output/bias",
    } <= scalars
    histograms = {
        tag
        for tag in training.Tags()["tensors"]
        if tag.startswith("grad_hist_log10/")
    }
    assert histograms == {
        f"grad_hist_log10/{tag.partition('/')[2]}"
        for tag in scalars
        if tag.startswith("log10_grad_norm/")
    }
    assert [
        event.step
        for event in training.Tensors("grad_hist_log10/000.hidden_1/kernel")
    ] == [5, 10, 15, 20, 24]
    assert [event.step for event in validation.Scalars("Overview/loss")] == [
        4,
        8,
        12,
        16,
        20,
        24,
    ]
    assert training.Tags()["graph"] and "config/text_summary" not in scalars
    (text,) = training.Tensors("config")
    assert "dropout: 0.2" in text.tensor_proto.string_val[0].decode()
    rate = {
        event.step: event.value
        for event in training.Scalars("Overview/learning_rate")
    }
    assert rate[2] == pytest.approx(0.005) and rate[24] == pytest.approx(0.01)


def test_what_is_measured_in_each_layer(finished):
    curves = finished.history
    parameters = [
        name.partition("/")[2]
        for name in curves
        if name.startswith("grad_norm/")
    ]
    assert len(parameters) == 8
    shares = [curves[f"grad_share/{name}"].values for name in parameters]
    np.testing.assert_allclose(
        np.sum(shares, axis=0), 1, rtol=1e-6
    )  # norms are float32
    first, last = (
        curves[f"grad_norm/{name}/kernel"].values
        for name in ("000.hidden_1", "002.hidden_2")
    )
    np.testing.assert_allclose(
        curves["depth_ratio"].values, first / last, rtol=1e-6
    )
    for kind in ("weight_norm", "update_ratio", "zero_grads"):
        assert list(curves[f"{kind}/000.hidden_1/kernel"].steps) == [
            5,
            10,
            15,
            20,
            24,
        ]
    assert (
        "nonfinite_grads/000.hidden_1/kernel" not in curves
        and not curves["nonfinite_grads"].values.any()
    )
    layers = ["001.activation_1", "003.activation_2"]
    for kind in (
        "activation_mean",
        "activation_std",
        "dead_units",
        "zero_activations",
    ):
        assert [
            name.partition("/")[2]
            for name in curves
            if name.startswith(f"{kind}/")
        ] == layers
    zeros = curves["zero_activations/001.activation_1"].values
    assert np.all((0.2 < zeros) & (zeros < 0.8))  # normalised before the ReLU


def test_every_kind_of_histogram_comes_back(finished):
    training = events(finished.folder)
    found = [tag for tag in training.Tags()["tensors"] if "_hist" in tag]
    groups = {
        group: [tag for tag in found if tag.startswith(f"{group}/")]
        for group in GROUPS
    }
    assert {group: len(tags) for group, tags in groups.items()} == dict(
        zip(GROUPS, (8, 8, 8, 2), strict=True)
    )
    assert len(found) == 26
    event = training.Tensors("weight_hist/000.hidden_1/kernel")[-1]
    rows = tf.make_ndarray(event.tensor_proto)
    assert (
        event.step == 24
        and rows[:, 2].sum() == 13 * 16
        and rows[0, 0] < 0 < rows[-1, 1]
    )


def test_histograms_can_be_left_out_and_so_can_all_that_is_measured(
    config, tmp_path
):
    models = [
        tftrain.train(config("training.epochs=1"), tmp_path / "all").model
    ]
    for name, override in {
        "none": "log.histograms=[]",
        "never": "log.histograms_every=never",
    }.items():
        models.append(
            tftrain.train(
                config(override, "training.epochs=1"), tmp_path / name
            ).model
        )
        assert not [
            tag
            for tag in events(tmp_path / name).Tags()["tensors"]
            if "_hist" in tag
        ]
        curves = read_metrics(tmp_path / name / "metrics.jsonl")
        assert ("weight_norm/000.hidden_1/kernel" in curves) == (
            name == "none"
        ) and "depth_ratio" in curves
    for values in zip(*map(weights, models), strict=True):
        assert (
            len({value.tobytes() for value in values}) == 1
        )  # whoever looks changes nothing


def test_the_graph_shows_the_stages_of_the_step(finished):
    scopes = {
        node.name.partition("/")[0]
        for node in events(finished.folder).Graph().node
    }
    assert {"gradients", "norms", "transforms", "rate", "update"} <= scopes


def test_a_model_read_back_gives_the_same(finished):
    x = np.random.default_rng(0).normal(size=(5, 13)).astype("float32")
    np.testing.assert_array_equal(
        tftrain.load_model(finished.folder)(x), finished.model(x)
    )


@pytest.mark.parametrize("first", ["training.steps=13", "training.steps=16"])
def test_a_resumed_run_ends_like_an_unbroken_one(
    finished, config, tmp_path, first
):
    tftrain.train(config(first, "training.epochs=null"), tmp_path / "run")
    again = tftrain.train(config(), tmp_path / "run", resume=True)
    for one, other in zip(
        weights(finished.model), weights(again.model), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert again.results["test"] == finished.results["test"]
    steps = again.history["loss"].steps
    assert np.all(np.diff(steps) > 0) and steps[-1] == 24
    shown = [
        event.step
        for event in events(tmp_path / "run").Scalars("Overview/loss")
    ]
    assert shown == sorted(set(shown))


def test_resume_starts_where_there_is_nothing_yet_and_needs_no_config(
    config, tmp_path, capsys
):
    short = config("training.epochs=2")
    first = tftrain.train(short, tmp_path / "run", resume=True)
    assert main(["--resume", "--run-dir", str(tmp_path / "run")]) == 0
    assert "changed since" not in capsys.readouterr().out
    assert first.history["loss"].steps[-1] == 8
    tftrain.train(config("training.epochs=3"), tmp_path / "run", resume=True)
    assert (
        "changed since the last session: training.epochs: 2 -> 3"
        in capsys.readouterr().out
    )


def test_a_checkpoint_of_another_model_is_refused(finished, config, tmp_path):
    tftrain.train(config("training.epochs=1"), tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(
        InputError,
        match=r"hidden_1|000_kernel.*shape \(13, 16\) in the checkpoint, expected \(13, 4\)",
    ):
        tftrain.train(
            config("model.hidden=[4]"),
            tmp_path / "run",
            resume=True,
            allow_changes=True,
        )
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_a_profile_of_some_steps(config, tmp_path, capsys):
    tftrain.train(
        config("log.profile=[3, 6]", "training.epochs=2"), tmp_path / "run"
    )
    assert (
        f"profile of steps 3 to 6: {tmp_path / 'run' / 'plugins' / 'profile'}\n"
        in capsys.readouterr().out
    )
    assert len([*(tmp_path / "run").glob("plugins/profile/*/*.xplane.pb")]) == 1


def test_no_profiler_is_left_running(config, tmp_path, monkeypatch):
    def interrupt(self, step, row):
        if step >= 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(
        "tftrain.core.bad_steps.SkippedSteps.on_call_end", interrupt
    )
    with pytest.raises(KeyboardInterrupt):
        tftrain.train(config("log.profile=[1, 20]"), tmp_path / "run")
    with pytest.raises(tf.errors.UnavailableError):
        tf.profiler.experimental.stop()


def test_early_stopping_and_the_best_weights(config, tmp_path):
    result = tftrain.train(
        config(
            "training.early_stopping={monitor: val_accuracy, patience: 3}",
            "training.epochs=200",
            "checkpoint.best=val_accuracy",
            "checkpoint.restore_best=true",
            "log.histograms_every=auto",
        ),
        tmp_path / "run",
    )
    steps, accuracies = result.history["val_accuracy"]
    best = steps[np.argmax(accuracies)]
    assert re.fullmatch(
        rf"val_accuracy has not improved on [\d.]+ for 3 evaluations since step {best}",
        result.stopped,
    )
    assert steps[-1] == best + 3 * 4 and not result.failed
    assert (
        result.history["weight_norm/000.hidden_1/kernel"].steps[-1] == steps[-1]
    ), "the last step is measured too"
    assert result.results["validation"]["accuracy"] == pytest.approx(
        accuracies.max()
    )


def test_a_diverging_run_stops_before_the_bad_update(config, tmp_path, capsys):
    overrides = [
        "optimizer={name: sgd, learning_rate: 1e30}",
        "gradients.clip=[]",
        "model.batch_norm=false",
    ]
    result = tftrain.train(config(*overrides), tmp_path / "run")
    assert result.failed and "not finite at step" in result.stopped
    assert all(np.all(np.isfinite(one)) for one in weights(result.model))
    assert (
        "stopped early: the loss or a gradient was not finite"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("steps", [[24], [10, 24]], ids=["whole", "resumed"])
def test_a_run_that_skipped_updates_says_so(config, tmp_path, steps):
    overrides = [
        "optimizer={name: sgd, learning_rate: 1e30}",
        "gradients.clip=[]",
        "model.batch_norm=false",
    ]
    with pytest.warns(
        UserWarning,
        match="23 of 24 updates were skipped where .* first at step 2; look at the learning",
    ):
        for until in steps:
            given = config(
                *overrides,
                "training.epochs=null",
                f"training.steps={until}",
                "training.on_bad_step=skip",
            )
            result = tftrain.train(given, tmp_path / "run", resume=True)
    assert (
        not result.failed
        and result.history["nonfinite_steps"].values.sum() == 23
    )


def test_a_rate_that_heeds_validation_goes_on_where_it_was(config, tmp_path):
    rate = "{name: warmup, steps: 2, then: {name: plateau, then: 0.3, factor: 0.5, patience: 1, cooldown: 1}}"
    overrides = [
        "optimizer.learning_rate=" + rate,
        "log.scalars=1",
        "log.histograms_every=never",
    ]
    whole = tftrain.train(config(*overrides), tmp_path / "whole")
    tftrain.train(config(*overrides, "training.epochs=3"), tmp_path / "run")
    again = tftrain.train(config(*overrides), tmp_path / "run", resume=True)
    for one, other in zip(
        weights(whole.model), weights(again.model), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    rates, looks = (
        whole.history["learning_rate"].values,
        whole.history["val_loss"].values,
    )
    np.testing.assert_array_equal(rates, again.history["learning_rate"].values)
    held = [
        rates[step] for step in (4, 8, 12, 16, 20)
    ]  # of the first step after each of the looks but the last
    expected, factor, best, cooling = [], 1.0, np.inf, 0
    for look in looks[:5]:
        cooling = max(cooling - 1, 0)
        if look >= best and not cooling:
            factor, cooling = 0.5 * factor, 1
        best = min(best, look)
        expected.append(0.3 * factor)
    np.testing.assert_allclose(held, expected, rtol=1e-6)
    assert min(held) < 0.3


def test_iris_is_the_classic_example(tmp_path):
    result = tftrain.train(
        tftrain.load(CONFIGS / "iris.yaml"), tmp_path / "run"
    )
    assert result.results["test"]["accuracy"] >= 0.96  # 29 of 30 at least
    steps, losses = result.history["loss"]
    assert steps[-1] == 1000 and losses[-1] < 0.25


def test_xor_is_learned(tmp_path):
    result = tftrain.train(tftrain.load(CONFIGS / "xor.yaml"), tmp_path / "run")
    corners = result.model(
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    )
    np.testing.assert_array_equal(np.round(corners)[:, 0], [0, 1, 1, 0])


@pytest.mark.long
def test_digits_cnn_reaches_what_the_readme_says(tmp_path):
    result = tftrain.train(
        tftrain.load(CONFIGS / "digits_cnn.yaml"), tmp_path / "run"
    )
    assert result.results["test"]["accuracy"] >= 0.985


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["data.validation=0"] + ["training.early_stopping={}"],
            "early_stopping.monitor: 'val_loss' .* no validation split",
        ),
        (
            [
                "data.validation=0",
                "optimizer.learning_rate={name: warmup, steps: 2, then: {name: plateau, then: 0.1}}",
            ],
            "optimizer.learning_rate.then.monitor: 'val_loss' is asked for, but the data has no validation split",
        ),
        (
            ["data.batch_size=500"],
            "data: batch_size 500 is more than the 124 examples",
        ),
        (
            ["log.profile=[3, 25]"],
            r"log.profile: given \[3, 25\], but the run ends with step 24",
        ),
        (
            ["model=cnn"],
            r"model: cnn: cnn needs images .* the data has the shape \[13\]",
        ),
        (
            ["loss=binary_crossentropy"],
            "loss: binary_crossentropy: compares numbers",
        ),
        (
            ["metrics=[{name: mean_iou, num_classes: 2}]"],
            "metrics: mean_iou: counts 2 classes, and the targets are of 3",
        ),
        (
            ["model={name: sequential, layers: [{name: dense, units: 7}]}"],
            r"the last layer gives the shape \[7\]; the targets need \[3\]",
        ),
        (
            ["data.preprocess=[one_hot, one_hot]"],
            "data.preprocess.1: one_hot needs one integer",
        ),
        (
            ["model={name: 'my_bad:Net'}"],
            r"(?s)my_bad:Net raised ZeroDivisionError:\nTraceback.*my_bad.py.*1 / 0",
        ),
    ],
)
def test_bad_input_is_one_error_and_nothing_is_written(
    config, tmp_path, monkeypatch, overrides, message
):
    (tmp_path / "my_bad.py").write_text(
        "def Net(*, outputs):\n    return 1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises((InputError, UserCodeError), match=message):
        tftrain.train(config(*overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "runs").exists()


def test_a_folder_in_use_is_refused(finished, config):
    with pytest.raises(
        RunFolderError, match="not empty; give another --run-dir, or --resume"
    ):
        tftrain.train(config(), finished.folder)


def test_what_cannot_be_positioned_is_said_at_the_start(
    config, tmp_path, monkeypatch, capsys
):
    (tmp_path / "flowing.py").write_text(
        "import tensorflow as tf\n\n\ndef numbers():\n"
        "    return tf.data.Dataset.range(40).map(lambda i: (tf.cast(i, tf.float32)[None] / 40, i % 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "model: mlp\ndata: {name: 'flowing:numbers', batch_size: 20}\noptimizer: sgd\ntraining: {steps: 2}\n"
    for number, override in enumerate(("data.cache=false", "data.cache=true")):
        tftrain.train(
            config(override, "log.histograms_every=never", text=text),
            tmp_path / f"run{number}",
        )
        told = "data: a tf.data.Dataset cannot be positioned, so a resume reads up to 40 examples again"
        assert (told in capsys.readouterr().out) == (number == 0)
