"""Layers are named as in a new process, and none of a user's own gets a name that was given inside."""

from __future__ import annotations

import keras
from keras.src.backend.common.name_scope import current_path, name_scope

from tftrain.models.layer_names import reset_layer_names


def test_names_inside_and_after():
    before = {keras.layers.Dense(1).name for _ in range(3)}
    for _ in range(2):
        with reset_layer_names():
            assert [keras.layers.Dense(1).name for _ in range(2)] == [
                "dense",
                "dense_1",
            ]
            assert keras.layers.Softmax().name == "softmax"
    assert keras.layers.Dense(1).name not in before | {"dense", "dense_1"}
    assert keras.layers.Softmax().name != "softmax"


def test_a_scope_that_was_left_open_is_in_no_later_name():
    """As a layer leaves it whose name TensorFlow refuses."""
    with reset_layer_names():
        name_scope("left").__enter__()
        assert current_path() == "left"
    assert current_path() == ""
