"""Saved models, as they are read back and gone on from; a file of them is not trusted."""

from __future__ import annotations

import json
import time
import zipfile

import keras
import numpy as np
import pytest

import tftrain
from tftrain.cli import main
from tftrain.models import serialization
from tftrain.runtime.errors import InputError
from tftrain.runtime.zip_clock import zip_clock

SAVED = """
model: {{name: saved, path: {path}{more}}}
data: {{name: wine, preprocess: standardize, test: 0.2}}
optimizer: {{name: sgd, learning_rate: 0.0}}
training: {{steps: 2}}
"""
OWN = """
import keras


class Net(keras.Model):
    def __init__(self, units: int = 4, *, outputs: int):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation=bent)
        self.last = keras.layers.Dense(outputs)

    def call(self, x):
        return self.last(self.hidden(x))


@keras.saving.register_keras_serializable()
def bent(x, slope: float = 0.5):
    return keras.ops.maximum(x, slope * x)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "bends.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def config(folder):
    def load(path, more="", text=SAVED):
        (folder / "go_on.yaml").write_text(text.format(path=path, more=more))
        return tftrain.load(folder / "go_on.yaml")

    return load


def altered(path, change, tmp_path):
    """A copy of a saved model with another description of its layers."""
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(tmp_path / "altered.keras", "w") as new,
    ):
        for name in old.namelist():
            held = old.read(name)
            new.writestr(
                name, change(held.decode()) if name == "config.json" else held
            )
    return tmp_path / "altered.keras"


def dense(*layers, width=13):
    return keras.Sequential(
        [keras.Input((width,)), *layers, keras.layers.Dense(3)]
    )


def test_a_run_goes_on_from_another(folder, config):
    model = dense(keras.layers.Dense(5, "relu"))
    model.save(folder / "first.keras")
    result = tftrain.train(config("first.keras"), folder / "run")
    for one, other in zip(
        model.get_weights(), result.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)  # at a learning rate of 0


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("{name: 'bends:Net', units: 3}", "'bends:Net', 'bends:bent'"),
        (
            "{name: mlp, hidden: [3], activation: {name: 'bends:bent', slope: 0.25}}",
            "'bends:bent'",
        ),
    ],
)
def test_parts_of_one_s_own_are_found_where_the_config_names_them(
    folder, config, name, parts
):
    text = SAVED.replace(
        "{{name: saved, path: {path}{more}}}",
        name.replace("{", "{{").replace("}", "}}"),
    )
    first = tftrain.train(config("", text=text), folder / "first")
    going_on = config("first/model.keras", f", parts: [{parts}]")
    second = tftrain.train(going_on, folder / "second")
    x = np.random.default_rng(0).normal(size=(5, 13)).astype("float32")
    for model in (
        second.model,
        tftrain.load_model(first.folder),
        tftrain.load_model(second.folder),
    ):
        np.testing.assert_array_equal(model(x), first.model(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: None,
            "x.keras cannot be read: No such file or directory; expected a model that Keras saved, such",
        ),
        (lambda: open("x.keras", "w").close(), "'x.keras' cannot be read: "),
        (
            lambda: dense(width=4).save("x.keras"),
            r"'x.keras' takes \[4\]; an example of the data has the shape \[13\]",
        ),
        (
            lambda: dense(keras.layers.Lambda(lambda x: x * 2)).save("x.keras"),
            "code of its own .* give --trust",
        ),
    ],
)
def test_what_cannot_be_gone_on_from(config, make, message):
    make()
    with pytest.raises(
        InputError, match=f"go_on.yaml:2:15: model: saved: .*{message}"
    ):
        tftrain.train(config("x.keras"))


def test_trust_lets_a_saved_model_run_its_code(folder, config):
    dense(keras.layers.Lambda(lambda x: x * 2)).save("x.keras")
    config("x.keras")
    assert main(["--config", "go_on.yaml", "--run-dir", "run", "--trust"]) == 0
    with pytest.raises(ValueError, match="holds code of its own"):
        tftrain.load_model("run")
    assert tftrain.load_model("run", trust=True).count_params() == 13 * 3 + 3


@pytest.mark.parametrize(
    "seconds", [100.0, 4.5e9], ids=["never set", "far ahead"]
)
def test_a_model_is_saved_whole_whatever_the_clock_shows(
    tmp_path, monkeypatch, seconds
):
    """A zip file holds no time before 1980 or after 2107."""
    model = dense()
    monkeypatch.setattr(time, "time", lambda: seconds)
    with zip_clock():
        np.savez(tmp_path / "batch.npz", x=np.arange(3))
    serialization.save(model, tmp_path / "model.keras")
    monkeypatch.undo()
    assert (
        serialization.is_whole(tmp_path / "model.keras")
        and np.load(tmp_path / "batch.npz")["x"][2] == 2
    )
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for weights, expected in zip(
        loaded.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize(
    "function",
    [
        "os:system",
        "keras.utils:get_file",
        "keras.activations:types.os",
        "bends:bent",
    ],
)
def test_a_file_names_no_function_that_no_config_names(
    folder, config, function
):
    model = dense(keras.layers.Dense(5, "relu"))
    model.save(folder / "x.keras")
    said = {"function": function, "arguments": {}}
    ours = {
        "module": "builtins",
        "class_name": "Activation",
        "config": said,
        "registered_name": "tftrain>Activation",
    }
    path = altered(
        "x.keras", lambda text: text.replace('"relu"', json.dumps(ours)), folder
    )
    from tftrain.config import keras_objects

    keras_objects._named.discard(function)
    with pytest.raises(
        InputError,
        match=f"it names the function '{function}', which no config names",
    ):
        tftrain.train(config(path))
