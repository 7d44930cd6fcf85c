"""Models that are read back take examples as the data has them."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tftrain
from tftrain.data.datasets.bundled import digits, wine

WINE = """
model: {name: mlp, hidden: [8]}
data: {name: wine, test: 0.2, preprocess: standardize}
optimizer: adam
training: {epochs: 3}
log: {graph: false, histograms_every: never}
"""
TIMED = """
model: "learners:network"
data: {name: "learners:timed", preprocess: "learners:kinds"}
loss: mean_squared_error
optimizer: {name: adam, learning_rate: 0.05}
training: {epochs: 2}
log: {graph: false, histograms_every: never}
"""


@pytest.fixture(scope="module")
def trained(own_parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "wine.yaml").write_text(WINE)
    return tftrain.train(tftrain.load(folder / "wine.yaml"), folder / "run")


def standardized(x, fitted):
    wide = fitted.astype(np.float64)
    return ((x - wide.mean(0)) / wide.std(0)).astype(np.float32)


def test_rows_are_prepared_with_what_was_learned_of_the_training_split(trained):
    x, y = wine()
    order = np.random.RandomState(0).permutation(len(y))[
        36:
    ]  # scikit-learn's split
    model = tftrain.load_model(trained.folder)
    twin = model.network.predict(standardized(x, x[order]), verbose=0)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), twin, atol=1e-5
    )  # some roundings of float32
    np.testing.assert_array_equal(model(x), trained.model(x))
    np.testing.assert_array_equal(
        model.predict(x[:5].tolist(), verbose=0),
        model.predict(x[:5], verbose=0),
    )


def test_a_graph_and_a_stream_give_what_arrays_do(trained):
    x, _ = wine()
    model = trained.model
    twin = model.predict(x, verbose=0)
    np.testing.assert_array_equal(tf.function(model)(tf.constant(x)), twin)
    np.testing.assert_array_equal(model.predict_on_batch(x), twin)
    np.testing.assert_array_equal(
        model.predict(
            tf.data.Dataset.from_tensor_slices(x).batch(50), verbose=0
        ),
        twin,
    )


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_rows_of_other_types_are_given_that_of_the_data(
    kind, tmp_path, monkeypatch
):
    (tmp_path / "deltas.py").write_text(
        "import numpy as np\nfrom tftrain.data.preprocessing import Preprocess\n\n\ndef least():\n"
        "    fit = lambda batches, facts: np.min([np.asarray(batch.x).min(0) for batch in batches], 0)\n"
        "    return Preprocess(lambda x, y, state, seed, training: (x * 2 - state.astype(x.dtype.name), y), fit)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = WINE.replace("standardize", '"deltas:least"').replace(
        "epochs: 3", "steps: 1"
    )
    (tmp_path / "deltas.yaml").write_text(text)
    model = tftrain.train(
        tftrain.load(tmp_path / "deltas.yaml"), tmp_path / "run"
    ).model
    rows = wine()[0][:5].round().astype(kind)
    twin = model.network.predict(
        model.prepare(rows.astype(np.float32)), verbose=0
    )
    loaded = tftrain.load_model(tmp_path / "run")
    for found in (
        model(rows),
        model.predict(rows, verbose=0),
        loaded(rows),
        loaded.predict(rows.tolist(), verbose=0),
    ):
        np.testing.assert_array_equal(found, twin)


def test_rows_of_another_shape_are_told(trained):
    x, _ = wine()
    for rows, shown in (
        (x[0], "[13]"),
        (x[:, :12], "[178, 12]"),
        (x[None], "[1, 178, 13]"),
    ):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"x has the shape {shown}; expected [examples, 13]"
            ),
        ):
            tftrain.load_model(trained.folder).predict(rows, verbose=0)


@pytest.mark.parametrize("checkpoint", [None, "latest"])
def test_the_network_alone_is_what_the_file_holds(trained, checkpoint):
    bare = tftrain.load_model(
        trained.folder, preprocess=False, checkpoint=checkpoint
    )
    file = keras.models.load_model(trained.folder / "model.keras")
    network = tftrain.load_model(trained.folder, checkpoint=checkpoint).network
    x = np.ones((3, 13), np.float32)
    np.testing.assert_array_equal(bare(x), file(x))
    np.testing.assert_array_equal(network(x), file(x))


def test_a_lost_or_damaged_file_is_told(trained, tmp_path):
    file = trained.folder / "preprocess.npz"
    held = file.read_bytes()
    try:
        for content in (None, held[: len(held) // 2], b"", b"nonsense"):
            file.unlink() if content is None else file.write_bytes(content)
            with pytest.raises(
                ValueError,
                match="preprocess.npz', what the preprocessing learned, cannot be read",
            ):
                tftrain.load_model(trained.folder)
            tftrain.load_model(trained.folder, preprocess=False)
    finally:
        file.write_bytes(held)


def test_a_model_that_goes_on_from_another_prepares_once(trained, tmp_path):
    text = WINE.replace(
        "{name: mlp, hidden: [8]}",
        f"{{name: saved, path: {trained.folder}/model.keras}}",
    )
    (tmp_path / "more.yaml").write_text(
        text.replace("adam", "{name: sgd, learning_rate: 0.0}")
    )
    more = tftrain.train(tftrain.load(tmp_path / "more.yaml"), tmp_path / "run")
    assert more.results["test"] == trained.results["test"]
    np.testing.assert_array_equal(
        tftrain.load_model(more.folder)(wine()[0]), trained.model(wine()[0])
    )


def test_own_steps_parts_of_the_model_and_float64(desk, tmp_path):
    result = tftrain.train(desk.load(TIMED), tmp_path / "run")
    from learners import timed

    x, _ = timed()
    time = (x["time"] - x["time"].mean()) / 90
    both = np.concatenate([time, np.eye(3)[x["kind"]]], 1).astype(np.float32)
    model = tftrain.load_model(tmp_path / "run")
    found = model.predict(x, verbose=0)
    np.testing.assert_allclose(
        found, model.network.predict({"both": both}, verbose=0), atol=1e-5
    )
    np.testing.assert_array_equal(found, result.model.predict(x, verbose=0))


def test_evaluation_is_of_float64_as_it_is_and_of_features_alone(
    desk, tmp_path
):
    from learners import timed

    x, y = timed()
    model = tftrain.train(desk.load(TIMED), tmp_path / "run").model
    model.compile(loss="mse")
    twin = np.mean((np.ravel(model.predict(x, verbose=0)) - np.ravel(y)) ** 2)
    more = {**x, "patient": np.array(["a"] * len(y))}
    assert model.evaluate(more, y, verbose=0) == pytest.approx(twin, rel=1e-5)
    with pytest.raises(
        ValueError,
        match="x has no feature 'kind'; expected a dict of time, kind, as the data",
    ):
        model.predict({"time": x["time"]}, verbose=0)


def test_what_cannot_be_written_is_told(desk, tmp_path):
    text = WINE.replace("standardize", '"learners:centred"')
    with pytest.warns(
        UserWarning,
        match="what preprocess .learners:centred. learned cannot be written.*a Mean",
    ):
        tftrain.train(desk.load(text), tmp_path / "run")
    with pytest.raises(
        ValueError, match="preprocess=False gives the model without"
    ):
        tftrain.load_model(tmp_path / "run")


def test_random_steps_are_those_of_evaluation(desk, tmp_path):
    text = """
model: {name: cnn, filters: [2], hidden: []}
data: {name: digits, preprocess: [{name: scale, by: 0.0625}, flip, {name: crop, height: 6, width: 6}, one_hot]}
optimizer: sgd
training: {steps: 1}
"""
    tftrain.train(desk.load(text), tmp_path / "run")
    x = digits()[0][:9]
    model = tftrain.load_model(tmp_path / "run")
    twin = model.network(x[:, 1:7, 1:7] * np.float32(0.0625))
    np.testing.assert_array_equal(model(x), twin)


def test_a_model_without_preprocessing_is_the_network_itself(desk, tmp_path):
    tftrain.train(
        desk.load(WINE.replace(", preprocess: standardize", "")),
        tmp_path / "run",
    )
    assert not (tmp_path / "run" / "preprocess.npz").exists()
    assert isinstance(
        tftrain.load_model(tmp_path / "run").layers[-1], keras.layers.Dense
    )
