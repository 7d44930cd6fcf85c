"""Every tag that a run writes says what it means."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto.event_pb2 import Event

import tftrain
from tftrain.reporting.tensorboard.descriptions import (
    DESCRIPTIONS,
    OWN,
    description_of,
    markdown_rows,
)

README = (Path(__file__).parents[3] / "tftrain/reporting/README.md").read_text()
RICH = """
model: {name: mlp, hidden: [4, 4, 4], activation: relu}
data: {name: iris, validation: 0.2, batch_size: 40}
optimizer: {name: sgd, learning_rate: 0.1}
gradients: {clip: [{name: value, limit: 0.5}, {name: global_norm, limit: 0.1}]}
training: {steps: 4, validate_every: 2}
log:
  scalars: 1
  histograms: [gradients, updates, weights, activations]
  histograms_every: 1
  histogram_axis: [log10, value]
  probes: [{name: weights, only: output, most: 2}]
  plots: [{name: weights, only: kernel, at: [4]}]
"""


@pytest.fixture(scope="module")
def first_values(tmp_path_factory):
    """Of a run that logs all there is the first value of each tag in each of its event files."""
    folder = tmp_path_factory.mktemp("rich")
    (folder / "rich.yaml").write_text(RICH)
    tftrain.train(tftrain.load(folder / "rich.yaml"), folder / "run")
    values = {}
    for path in (folder / "run").rglob("events*"):
        for record in event_file_loader.RawEventFileLoader(str(path)).Load():
            for value in Event.FromString(record).summary.value:
                values.setdefault((path, value.tag), value)
    return values


def test_every_tag_of_a_run_is_described(first_values):
    tags = {tag for _, tag in first_values}
    assert {
        "Overview/accuracy",
        "pictures/weights",
        "probes/weight/003.output/kernel.0.0",
    } <= tags
    assert "transforms/clip/global_norm/log10_norm_before" in tags and any(
        "layer_dead/" in tag for tag in tags
    )
    assert not [tag for tag in tags if description_of(tag) == OWN]
    lacking = [
        tag
        for (_, tag), value in first_values.items()
        if not value.metadata.summary_description
    ]
    assert not lacking


def test_a_description_goes_with_the_value_that_it_is_of(first_values):
    for (_, tag), value in first_values.items():
        assert value.metadata.summary_description == description_of(tag)
        if value.WhichOneof("value") == "simple_value":
            assert value.metadata.plugin_data.plugin_name == "scalars"


def test_what_is_described_is_written(first_values):
    """A pattern that fits no tag of this run is one of those that need more than it has."""
    used = {description_of(tag) for _, tag in first_values}
    unused = {
        pattern for pattern, text in DESCRIPTIONS.items() if text not in used
    }
    assert unused == {"transforms/*", "layer_saturated/*", "incidents/*"}


def test_the_table_of_the_readme_is_made_of_them():
    (table,) = re.findall(
        r"^\| tag \| what it is \|\n\|---\|---\|\n((?:\|.*\n)+)",
        README,
        re.MULTILINE,
    )
    assert table.splitlines() == markdown_rows()
