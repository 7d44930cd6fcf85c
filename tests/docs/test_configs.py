"""Every config that ships, run: what it is said to show is what it shows. Those of real data are in test_session.py."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import pytest

import tftrain
from tftrain.data.datasets.sequences import series_stream, sine

ROOT = Path(__file__).parent.parent.parent

# Images of the shape of CIFAR-10's, gray by their label.
BUILDER = """
import numpy as np
import tensorflow_datasets as tfds

class LocalColors(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image, label = tfds.features.Image(shape=(32, 32, 3)), tfds.features.ClassLabel(num_classes=10)
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(200, 0), "test": self._generate_examples(40, 1)}

    def _generate_examples(self, count, seed):
        noise = np.random.default_rng(seed).integers(0, 10, (count, 32, 32, 3))
        for i in range(count):
            yield i, {"image": (noise[i] + 24 * (i % 10)).astype(np.uint8), "label": i % 10}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The result of a config, run once for all tests; its own parts are found from the folder above it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))

        @functools.cache
        def run(name, *overrides):
            config = tftrain.load(ROOT / "configs" / f"{name}.yaml", overrides)
            return tftrain.train(config, tmp_path_factory.mktemp(name) / "run")

        yield run


def last(result, scalar):
    return result.history[scalar].values[-1]


def reached(result, loss):
    """The first logged step with a loss below this one."""
    steps, values = result.history["loss"]
    return steps[np.argmax(values < loss)] if (values < loss).any() else np.inf


def test_scalar_chain_is_what_a_pencil_finds(run):
    result = run("scalar_chain")
    assert result.model(np.array([[2.0]], "float32")).numpy() == 7
    assert last(result, "loss") == 0.25
    assert (
        last(result, "grad_norm/000.dense/kernel") == 2
        and last(result, "grad_norm/000.dense/bias") == 1
    )


def test_chain_rule_is_what_a_pencil_finds(run):
    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    w, b, v, c, x = 2.0, -0.5, -1.0, 0.5, 1.0
    h = sigmoid(w * x + b)
    y = sigmoid(v * h + c)
    output = 2 * (y - 1) * y * (1 - y)  # dL/dy times the slope of the sigmoid
    hidden = output * v * h * (1 - h)
    result = run("chain_rule")
    weights = [float(weight.squeeze()) for weight in result.model.get_weights()]
    pencil = [w - hidden * x, b - hidden, v - output * h, c - output]
    assert weights == pytest.approx(pencil, rel=1e-6)  # float32
    norms = [
        last(result, f"grad_norm/{name}")
        for name in ("000.dense/kernel", "001.dense_1/kernel")
    ]
    assert norms == pytest.approx([abs(hidden * x), abs(output * h)], rel=1e-6)


# Those that show how well something trains, not how.
PLAIN = {"iris", "digits_mlp", "digits_cnn", "mnist_cnn", "cifar_cnn"}
TEACHING = sorted(
    {path.stem for path in (ROOT / "configs").glob("*.yaml")} - PLAIN
)


def asked(name):
    """The pictures that a config names."""
    return {
        part.name
        for part in tftrain.load(ROOT / "configs" / f"{name}.yaml").log.plots
    }


def drawn(run, name):
    """Those that its run left."""
    return {
        path.name.rpartition("-")[0]
        for path in (run(name).folder / "pictures").iterdir()
    }


def test_every_config_that_teaches_has_a_picture_that_shows_it():
    for name in TEACHING:
        assert asked(name), name


@pytest.mark.parametrize(
    "name",
    [
        "chain_rule",
        "gradient_flow",
        "momentum_plain",
        "custom_activation",
        "clip_sweep",
        "rtrl",
    ],
)
def test_the_pictures_of_a_config_are_drawn(run, name):
    assert drawn(run, name) == asked(name)


@pytest.mark.long
@pytest.mark.parametrize("name", TEACHING)
def test_the_pictures_of_all_configs_are_drawn(run, name):
    assert drawn(run, name) == asked(name)


@pytest.mark.long
def test_xor_sigmoid_learns_from_most_starts_and_is_stuck_from_some(run):
    learned, stuck = run("xor_sigmoid"), run("xor_sigmoid", "training.seed=1")
    assert (
        learned.results["train"]["accuracy"] == 1
        and last(learned, "loss") < 0.05
    )
    assert (
        stuck.results["train"]["accuracy"] <= 0.75 and last(stuck, "loss") > 0.4
    )  # a sum over four points


def test_gradient_flow_has_both_layers_gradients_of_every_epoch(run):
    result = run("gradient_flow")
    hidden, output = (
        result.history[f"grad_norm/{name}/kernel"]
        for name in ("000.hidden_1", "001.output")
    )
    assert hidden.steps.tolist() == output.steps.tolist() == list(range(1, 501))
    assert (
        hidden.values[0] < output.values[0] / 3
    )  # a sigmoid's slope is at most a quarter
    for values in (
        hidden.values,
        output.values,
    ):  # first the plateau at one half for all four, then the way out of it
        assert values[:100].min() < values[100:].max() / 3
    assert result.results["train"]["accuracy"] == 1


def test_momentum_and_adam_are_sooner_down_the_valley(run):
    names = ("momentum_plain", "momentum", "momentum_nesterov", "momentum_adam")
    plain, heavy, nesterov, adam = found = [run(name) for name in names]
    assert len({result.history["loss"].values[0] for result in found}) == 1
    noise = 0.011  # a hundredth is the variance that no line explains
    assert (
        reached(nesterov, noise)
        < reached(heavy, noise)
        < reached(plain, noise) / 2
    )
    assert reached(adam, noise) < reached(plain, noise) < 500


def test_momentum_goes_past_the_valley_where_plain_descent_stops_in_it(run):
    """The way over the surface: across the valley, along which the second weight stands still."""
    ways = {}
    for name in ("momentum_plain", "momentum"):
        curve = run(name).history["probes/weight/000.output/kernel.1.0"]
        assert curve.steps.tolist() == list(range(1, 501))
        ways[name] = curve.values
    low = ways["momentum_plain"][-1]
    assert ways["momentum_plain"][0] == ways["momentum"][0] < low - 0.5
    assert (
        ways["momentum_plain"].max() < low + 0.02
        and ways["momentum"].max() > low + 0.4
    )
    assert abs(ways["momentum"][-1] - low) < 1e-3


@pytest.mark.long
def test_gradient_rate_climbs_as_the_gradient_falls(run):
    result = run("gradient_rate")
    rates, norms = (
        result.history["learning_rate"].values,
        result.history["grad_norm"].values,
    )
    assert (
        rates[-1] > 3 * rates[0] and norms[-20:].mean() < norms[:20].mean() / 3
    )
    assert (
        (rates >= 0.01 - 1e-6) & (rates <= 1 + 1e-6)
    ).all()  # of float32: least and most, times 0.1
    assert result.results["test"]["accuracy"] >= 0.9


def test_custom_activation_has_its_own_gradient_and_learns(run):
    result = run("custom_activation")
    assert result.results["test"]["accuracy"] >= 0.97
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_array_equal(
        tftrain.load_model(result.folder)(x), result.model(x)
    )


def test_clip_sweep_is_finite_where_it_is_clipped(run):
    clipped, free = run("clip_sweep"), run("clip_sweep", "gradients.clip=[]")
    assert free.failed and free.history["loss"].steps[-1] < 10
    assert (
        clipped.stopped is None
        and clipped.results["test"]["loss"]
        < 5
        < clipped.history["loss"].values[0]
    )


@pytest.mark.parametrize(
    "limit, low, high",
    [(0.01, 400, 1200), (0.1, 2, 40), (10, 0, 1), (100, 0, 0.5)],
)
@pytest.mark.long
def test_clip_sweep_learns_as_fast_as_its_limit_lets_it(run, limit, low, high):
    assert (
        low
        <= run("clip_sweep", f"gradients.clip.limit={limit}").results["test"][
            "loss"
        ]
        < high
    )


@pytest.mark.parametrize("name", ["sine_rnn", "sine_lstm"])
@pytest.mark.long
def test_sine_is_continued_better_than_by_its_last_value(run, name):
    x, y = sine(seed=0)
    lazy = np.mean((y - x[:, -1]) ** 2)
    found = run(name).results["test"]["loss"]
    assert (
        0.01 * 0.8 < found < 0.6 * lazy
    )  # the noise, as a mean over 100 targets, and what needs no learning


@pytest.mark.parametrize(
    ("name", "data", "noise"),
    [
        (
            "truncated_bptt",
            lambda: series_stream(lanes=20, length=1000, seed=0),
            (0.02**2 + 0.2**2) / 2,
        ),
        (
            "rtrl",
            lambda: sine(examples=10, length=500, targets="each", seed=0),
            0.01,
        ),
    ],
    ids=["truncated_bptt", "rtrl"],
)
def test_a_stream_is_learned_window_by_window_and_step_by_step(
    run, name, data, noise
):
    x, y = data()
    lazy, result = np.mean((y - x) ** 2), run(name)
    assert noise * 0.8 < result.results["validation"]["loss"] < 0.5 * lazy
    losses = result.history["loss"].values
    assert losses[-5:].mean() < losses[:5].mean() / 3


@pytest.mark.long
def test_cifar_cnn_runs_on_images_of_that_size_made_on_the_spot(
    tmp_path, monkeypatch
):
    (tmp_path / "cifar_builder.py").write_text(BUILDER)
    monkeypatch.syspath_prepend(tmp_path)
    made = {
        "builder": "cifar_builder:LocalColors",
        "dataset": "local_colors",
        "data_dir": str(tmp_path),
    }
    made |= {"train": "train[:160]", "validation": "train[160:]"}
    overrides = {f"data.{name}": value for name, value in made.items()} | {
        "training.epochs": 10
    }
    result = tftrain.train(
        tftrain.load(ROOT / "configs" / "cifar_cnn.yaml", overrides),
        tmp_path / "run",
    )
    maps = [
        layer.output.shape[1:]
        for layer in result.model.network.layers
        if "conv" in layer.name or "pool" in layer.name
    ]
    assert maps == [
        (30, 30, 32),
        (15, 15, 32),
        (13, 13, 64),
        (6, 6, 64),
        (4, 4, 64),
    ]
    assert (
        result.model.count_params() == 122570
    )  # that of the network in TensorFlow's tutorial
    assert result.results["test"]["accuracy"] > 0.3  # one of ten by chance


@pytest.mark.long
def test_the_island_and_the_four_clouds(run):
    assert run("island").results["test"]["accuracy"] == 1
    assert run("xor_clouds").results["test"]["accuracy"] >= 0.97


@pytest.mark.long
def test_vanishing(run):
    ill, cured = run("vanishing"), run("vanishing_cured")
    assert (ill.history["depth_ratio"].values < 1e-6).all() and ill.results[
        "test"
    ]["accuracy"] < 0.2
    assert (cured.history["depth_ratio"].values > 1e-2).all() and cured.results[
        "test"
    ]["accuracy"] >= 0.9


@pytest.mark.long
def test_exploding(run):
    ill, cured = run("exploding"), run("exploding_cured")
    assert ill.failed and ill.history["grad_norm"].values[0] > 1000
    assert (
        not cured.failed
        and cured.history["clipped_grad_norm"].values.max() <= 1 + 1e-5
    )  # float32
    assert cured.results["test"]["accuracy"] >= 0.6


@pytest.mark.long
def test_dying_relu(run):
    ill, cured = run("dying_relu"), run("dying_relu_cured")
    assert (
        last(ill, "dead_units/001.activation_2") > 0.9
        and ill.results["test"]["accuracy"] < 0.2
    )
    assert (
        last(cured, "dead_units/003.activation_2") < 0.5
        and cured.results["test"]["accuracy"] >= 0.9
    )


@pytest.mark.long
def test_saturated(run):
    ill, cured = run("saturated"), run("saturated_cured")
    for layer in ("000.activation_1", "001.activation_2"):
        assert (
            last(ill, f"saturated/{layer}") > 0.8
            and last(cured, f"saturated/{layer}") < 0.2
        )
    assert (
        ill.results["test"]["accuracy"] < 0.75
        and cured.results["test"]["accuracy"] >= 0.92
    )
