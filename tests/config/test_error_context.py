"""What fails in the middle of training."""

from __future__ import annotations

import re

import pytest

import tftrain
from tftrain.config.component import Component
from tftrain.config.error_context import error_context
from tftrain.runtime.errors import InputError, TrainingError, UserCodeError


def test_a_step_that_fails(desk, tmp_path):
    layers = "[{name: embedding, input_dim: 5, output_dim: 2}, flatten, {name: dense, units: 3}]"
    data = "{name: 'tokens:late', batch_size: 4, shuffle: false}"
    text = f"model: {{name: sequential, layers: {layers}}}\ndata: {data}\noptimizer: sgd\ntraining: {{steps: 8}}\n"
    with pytest.raises(TrainingError) as caught:
        tftrain.train(desk.load(text), tmp_path / "run")
    said = str(caught.value)
    assert said.startswith(
        (
            "TensorFlow failed around step 3: ",
            "TensorFlow failed around step 4: ",
        )
    )
    assert said.endswith(
        ": indices[3,2] = 9 is not in [0, 5) (there is no checkpoint yet)"
    )


def test_the_names_of_nodes_are_left_out():
    said = "{{function_node __wrapped__Random_device_/job:localhost}} OOM when allocating [4,9] [Op:Random] name: "
    with pytest.raises(
        InputError, match=r"^default: model: mlp: OOM when allocating \[4,9\]$"
    ):
        with error_context(
            Component("model", "mlp", "tftrain.models.mlp:mlp"), "model"
        ):
            raise ValueError(said)


READER = """model: {{name: mlp, hidden: [2]}}
data: {{name: "readers:{name}", after: {after}, batch_size: 5}}
optimizer: sgd
training: {{epochs: 40}}
log: {{graph: false, histograms_every: never}}
checkpoint: {{every: 6}}
"""


def raised_by(desk, folder, text):
    with pytest.raises((UserCodeError, InputError)) as caught:
        tftrain.train(desk.load(text), folder)
    return str(caught.value)


@pytest.mark.parametrize("name", ["generated", "called", "indexed"])
@pytest.mark.parametrize("after", [0, 5])
def test_an_error_of_a_reader_is_located_whenever_it_comes(
    desk, own_parts, tmp_path, name, after
):
    told = raised_by(
        desk, tmp_path / "run", READER.format(name=name, after=after)
    )
    head, *rest = told.splitlines()
    when = (
        r" around step \d+ \((the last checkpoint is of step \d+|there is no checkpoint yet)\)"
        if after
        else ""
    )
    assert re.fullmatch(
        rf"config:2:14: data: readers:{name} raised LookupError{when}:",
        head.replace(".yaml", ""),
    )
    line = 1 + (own_parts / "readers.py").read_text().splitlines().index(
        '                raise LookupError(f"no row {int(number)}")'
    )
    assert f'  File "{own_parts}/readers.py", line {line}, in row' in rest
    assert rest[-1] == "LookupError: no row 7"
    assert all(
        "tftrain/" not in one and "tensorflow/" not in one for one in rest
    )


@pytest.mark.parametrize("after", [0, 5])
def test_an_operation_that_fails_in_a_dataset_names_the_builder(
    desk, own_parts, tmp_path, after
):
    told = raised_by(
        desk, tmp_path / "run", READER.format(name="decoded", after=after)
    )
    assert (
        "data: readers:decoded" in told
        and ": Unknown image file format." in told
        and "Iterator" not in told
    )
    assert re.search(r"readers\.py, line \d+\)$", told) and "\n" not in told


def test_examples_of_a_generator_that_do_not_fit_its_signature(desk, tmp_path):
    text = READER.format(name="misshapen", after=0).replace(", after: 0", "")
    told = raised_by(desk, tmp_path / "run", text)
    assert (
        "TypeError: `generator` yielded an element of shape (4,)" in told
        and "\n" not in told
    )
    assert re.search(r"readers\.py, line \d+\)$", told)


def test_an_error_of_a_loss_is_not_told_of_data_of_the_same_file(
    desk, tmp_path
):
    text = (
        READER.format(name="plain", after=0).replace(", after: 0", "")
        + 'loss: "readers:tired_loss"\n'
    )
    told = raised_by(desk, tmp_path / "run", text)
    assert (
        "loss: readers:tired_loss raised LookupError around step"
        in told.splitlines()[0]
    )
    assert told.endswith("LookupError: no more losses")
