"""What fails in the middle of training."""

from __future__ import annotations

import pytest

import tftrain
from tftrain.errors import InputError, TrainingError, blamed_on
from tftrain.parts import Part


def test_a_step_that_fails(desk, tmp_path):
    layers = "[{name: embedding, input_dim: 5, output_dim: 2}, flatten, {name: dense, units: 3}]"
    data = "{name: 'tokens:late', batch_size: 4, shuffle: false}"
    text = f"model: {{name: sequential, layers: {layers}}}\ndata: {data}\noptimizer: sgd\ntraining: {{steps: 8}}\n"
    with pytest.raises(TrainingError) as caught:
        tftrain.train(desk.load(text), tmp_path / "run")
    said = str(caught.value)
    assert said.startswith(("TensorFlow failed around step 3: ", "TensorFlow failed around step 4: "))
    assert said.endswith(": indices[3,2] = 9 is not in [0, 5) (there is no checkpoint yet)")


def test_the_names_of_nodes_are_left_out():
    said = "{{function_node __wrapped__Random_device_/job:localhost}} OOM when allocating [4,9] [Op:Random] name: "
    with pytest.raises(InputError, match=r"^default: model: mlp: OOM when allocating \[4,9\]$"):
        with blamed_on(Part("model", "mlp", "tftrain.models.mlp:mlp"), "model"):
            raise ValueError(said)
