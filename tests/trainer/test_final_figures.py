"""The final table, results.json, HParams and Result are figures of the weights in model.keras, over whole splits."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import plugin_event_accumulator

import tftrain
import tftrain.config.export
from tftrain.reporting.console import format_number
from tftrain.trainer import evaluator

TEXT = """
model: {name: mlp, hidden: [16], dropout: 0.5, batch_norm: true}
data: {name: iris, batch_size: 50, validation: 0.2, test: 0.2, drop_remainder: true, preprocess: standardize}
metrics: [accuracy, auc]
optimizer: {name: adam, learning_rate: 0.1}
training: {epochs: 12}
log: {graph: false, histograms: []}
"""
OWN = """
import numpy as np
import tensorflow as tf
from tftrain.data.preprocessing import Preprocess

x = np.random.default_rng(0).normal(size=(70, 2)).astype("float32")
data = {"train": (x, x[:, :1]), "validation": (x[:20], x[:20, :1])}


def arrays():
    return data


def stream():
    return {name: tf.data.Dataset.from_tensor_slices(pair) for name, pair in data.items()}


def sequences():
    steps = np.random.default_rng(0).normal(size=(20, 12, 1)).astype("float32")
    return {"train": (steps, steps), "validation": (steps[:5], steps[:5])}


def noise():
    def apply(x, y, state, seed, training):
        return (x + 10 * tf.random.stateless_normal(tf.shape(x), seed) if training else x), y

    return Preprocess(apply, random=True)
"""


def train(folder, text, *overrides):
    path = folder.parent / "config.yaml"
    path.write_text(text)
    return tftrain.train(tftrain.load(path, overrides), folder)


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """A run whose best weights are not the last, and what it printed."""
    folder = tmp_path_factory.mktemp("best") / "run"
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr(
            "tftrain.reporting.console._say",
            lambda console, text: lines.append(text),
        )
        result = train(
            folder, TEXT, "checkpoint.restore_best=true", "training.seed=1"
        )
    return result, "\n".join(lines)


def test_a_run_has_one_set_of_figures(best):
    result, printed = best
    curve = result.history["val_loss"]
    best_step = int(curve.steps[np.argmin(curve.values)])
    assert best_step < 12, (
        "the last weights are not the best, or this tests nothing"
    )
    results = json.loads((result.folder / "results.json").read_text())
    assert {
        split: results[split] for split in ("train", "validation", "test")
    } == result.results
    assert result.results["validation"]["loss"] == curve.values.min()
    assert results["model_step"] == best_step
    assert (
        f"model.keras: the weights at step {best_step}, the best (val_loss {curve.values.min():.4g})"
        in printed
    )
    for split, row in result.results.items():
        words = [
            split,
            *(format_number(row[name]) for name in ("loss", "accuracy", "auc")),
        ]
        assert re.search(r"\s+".join(map(re.escape, words)), printed), words
    files = plugin_event_accumulator.EventAccumulator(
        str(result.folder)
    ).Reload()
    shown = {
        tag: files.Tensors(tag)
        for tag in files.Tags()["tensors"]
        if tag.startswith("results/")
    }
    assert len(shown) == 9 and all(
        len(events) == 1 for events in shown.values()
    )
    for tag, [event] in shown.items():
        _, split, name = tag.split("/")
        assert tf.make_ndarray(event.tensor_proto) == np.float32(
            result.results[split][name]
        )


def test_they_are_those_of_the_saved_model_as_keras_evaluates_it(best):
    """`train` too: all 90 examples, also those that drop_remainder leaves out, without dropout."""
    import keras

    from tftrain.trainer.build import build_run

    result, _ = best
    data = build_run(tftrain.load(result.folder / "config.yaml")).data
    model = keras.models.load_model(
        result.folder / "model.keras", compile=False
    )
    for split, feed in (
        ("train", data.train.evaluating(500, 500)),
        ("validation", data.validation),
    ):
        batch = feed.batch(feed.serve(0, 1), tf.constant(0))
        assert len(batch.y) == {"train": 90, "validation": 30}[split]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
            batch.y, model(batch.x, training=False)
        )
        right = np.argmax(model(batch.x, training=False), 1) == batch.y
        assert result.results[split]["loss"] == pytest.approx(
            float(loss), rel=1e-5
        )  # sums in another order
        assert result.results[split]["accuracy"] == pytest.approx(
            np.mean(right)
        )


def test_without_restoring_they_are_of_the_last_weights_and_the_run_says_so(
    tmp_path, capsys
):
    early = "{monitor: val_loss, patience: 2}"
    result = train(
        tmp_path / "run",
        TEXT,
        f"training.early_stopping={early}",
        "training.seed=1",
        "training.epochs=30",
    )
    curve, printed = result.history["val_loss"], capsys.readouterr().out
    assert (
        result.stopped
        and result.results["validation"]["loss"]
        == curve.values[-1]
        > curve.values.min()
    )
    last, best_step = (
        int(curve.steps[-1]),
        int(curve.steps[np.argmin(curve.values)]),
    )
    assert (
        f"model.keras: the weights at step {last}, the last; the best, at step {best_step} (val_loss"
        in printed
    )
    assert "with checkpoint.restore_best: true" in printed
    assert (
        json.loads((result.folder / "results.json").read_text())["model_step"]
        == last
    )
    kept = tftrain.load_model(result.folder, checkpoint="best")
    assert any(
        not np.array_equal(*pair)
        for pair in zip(
            kept.get_weights(), result.model.get_weights(), strict=True
        )
    )


def test_averaged_weights_are_named_and_a_run_without_validation_has_its_last(
    tmp_path, capsys
):
    train(
        tmp_path / "run",
        TEXT,
        "training.ema=0.9",
        "data.validation=0",
        "training.epochs=2",
    )
    assert (
        "model.keras: the average of the weights at step 4, the last\n"
        in capsys.readouterr().out
    )


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "parts_of_figures.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return (
        "data: {name: 'parts_of_figures:%s', batch_size: 8%s}\n"
        + """
model: {name: sequential, layers: [{name: dense, units: 1}]}
loss: mean_squared_error
optimizer: {name: sgd, learning_rate: 0.01}
training: {steps: 3}
log: {graph: false, histograms: []}
"""
    )


@pytest.mark.parametrize("kind", ["arrays", "stream"])
def test_the_training_split_is_evaluated_whole_and_without_augmentation(
    tmp_path, own, kind
):
    result = train(
        tmp_path / kind, own % (kind, ", preprocess: 'parts_of_figures:noise'")
    )
    x = np.random.default_rng(0).normal(size=(70, 2)).astype("float32")
    errors = result.model.predict(x, verbose=0) - x[:, :1]
    assert result.results["train"]["loss"] == pytest.approx(
        np.mean(errors**2), rel=1e-5
    )
    assert (
        result.history["loss"].values[-1] > 5 * result.results["train"]["loss"]
    ), "training sees the noise"


@pytest.mark.parametrize("kind", ["arrays", "stream"])
def test_of_a_large_split_there_is_a_sample_which_is_said(
    tmp_path, own, kind, monkeypatch, capsys
):
    monkeypatch.setattr(evaluator, "TRAIN_SAMPLE", 40)
    monkeypatch.setattr("tftrain.data.loader.EVALUATION_BATCH", 16)
    result = train(tmp_path / kind, own % (kind, ""))
    assert "train: of 32 examples drawn from 70" in capsys.readouterr().out
    assert (
        json.loads((result.folder / "results.json").read_text())[
            "train_examples"
        ]
        == 32
    )
    again = train(tmp_path / "again", own % (kind, ""))
    assert again.results == result.results
    x = np.random.default_rng(0).normal(size=(70, 2)).astype("float32")
    errors = (result.model.predict(x, verbose=0) - x[:, :1]) ** 2
    assert result.results["train"]["loss"] not in (
        np.mean(errors[:32]),
        np.mean(errors),
    ), "drawn, not the first"


def test_sequences_that_are_trained_on_by_windows_are_evaluated_whole(
    tmp_path, own
):
    recurrent = (
        "layers: [{name: simple_rnn, units: 3, return_sequences: true}, "
    )
    text = (own % ("sequences", "")).replace("layers: [", recurrent)
    method = (
        "gradients.method={name: truncated_bptt, window: 4, update: window}"
    )
    result = train(tmp_path / "run", text, method)
    steps = np.random.default_rng(0).normal(size=(20, 12, 1)).astype("float32")
    errors = result.model.predict(steps, verbose=0) - steps
    assert result.results["train"]["loss"] == pytest.approx(
        np.mean(errors**2), rel=1e-5
    )


def test_a_result_tells_of_a_run_in_few_words(best):
    result, _ = best
    text = repr(result)
    assert (
        len(text) < 1000
        and str(result.folder) in text
        and "results={'train': {'loss':" in text
    )
    assert (
        "up to step 12" in text
        and "parameters" in text
        and "failed=False" in text
    )
    assert "array" not in text and str(result) == text


def test_the_default_length_is_told_where_a_config_is_read(tmp_path, capsys):
    from tftrain.cli import main

    path = tmp_path / "config.yaml"
    path.write_text("model: mlp\ndata: {name: iris}\noptimizer: sgd\n")
    assert main(["--config", str(path), "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "epochs: 10, steps: null" in re.sub(r"\s+", " ", printed)
    path.write_text(printed)
    assert tftrain.load(path).training.epochs == 10
    path.write_text(
        "model: mlp\ndata: {name: iris}\noptimizer: sgd\ntraining: {steps: 7}\n"
    )
    assert (
        tftrain.load(path).training.epochs,
        tftrain.load(path).training.steps,
    ) == (
        None,
        7,
    )
    described = json.loads(json.dumps(tftrain.config.export.json_schema()))[
        "properties"
    ]["training"]["properties"]["epochs"]
    assert "10 where neither" in described["description"]
