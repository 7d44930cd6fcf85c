from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tftrain.cli import main
from tftrain.config.conversion import to_plain
from tftrain.config.export import json_schema
from tftrain.config.yaml_parser import parse

CONFIGS = Path(__file__).parent.parent.parent / "configs"
EXAMPLES = sorted(CONFIGS.glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft7Validator(json_schema())


def test_it_is_a_schema_of_draft_7():
    jsonschema.Draft7Validator.check_schema(json_schema())


def test_the_command_prints_it(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid_and_point_to_it(path, validator):
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    assert [
        error.message
        for error in validator.iter_errors(to_plain(parse(text, path.name)))
    ] == []


@pytest.mark.parametrize(
    "text",
    [
        "training:\n",
        "base: digits_cnn.yaml\noptimizer: {name: sgd, learning_rate: 0.1}\n",
        "model: {name: 'my_models:TinyNet', width: 3}\n",
        "model: my_models:TinyNet\n",
        "metrics: auc\n",
        "metrics: [auc, {name: precision, thresholds: 0.5}]\n",
        "optimizer: {name: sgd, learning_rate: {name: cosine_decay, initial_learning_rate: 1, decay_steps: 1 epoch}}\n",
        "data: {name: tfds, dataset: mnist, validation: 'train[90%:]', batch_size: full}\n",
        "training: {early_stopping: null}\n",
        "training: {early_stopping: {patience: 3}}\n",
        "log: {histograms_every: never, scalars: 10, histograms: [weights, activations]}\n",
        "log: {histograms: updates}\n",
        "gradients: {clip: [{name: norm, limit: 1, only: kernel}, {name: 'my:clip', only: kernel, more: 1}]}\n",
    ],
)
def test_what_is_right(text, validator):
    assert validator.is_valid(to_plain(parse(text, "f")))


@pytest.mark.parametrize(
    "text",
    [
        "trainng: {}\n",
        "training: {epoch: 3}\n",
        "training: {epochs: 0}\n",
        "training: {epochs: many}\n",
        "training: {validate_every: 2 days}\n",
        "model: mpl\n",
        "model: {name: mlp, hiden: [3]}\n",
        "model: {name: mlp, hidden: [0]}\n",
        "model: {name: mlp, dropout: 1}\n",
        "data: {name: iris, validation: 2}\n",
        "data: {name: iris, batchsize: 3}\n",
        "optimizer: {name: adam, clipnorm: 1}\n",
        "optimizer: {name: adam, learning_rate: fast}\n",
        "gradients: {clip: {name: norm}}\n",
        "gradients: {clip: {name: 'my:clip', only: 3}}\n",
        "metrics: [acuracy]\n",
        "log: {histogram_axis: log}\n",
        "log: {histograms: never}\n",
    ],
)
def test_slips_are_refused(text, validator):
    assert not validator.is_valid(to_plain(parse(text, "f")))
