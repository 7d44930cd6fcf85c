"""Whole runs whose steps take in windows of sequences."""

import numpy as np
import pytest

import tftrain
from tftrain.assemble import assemble
from tftrain.errors import InputError

HEAD = """
model: {name: rnn, units: [4, 3], cell: lstm, dropout: 0.2}
data: {name: sine, examples: 10, length: 12, targets: each, batch_size: 4}
optimizer: {name: adam, learning_rate: 0.01}
training: {steps: 14, steps_per_call: 4}
log: {scalars: 1, histograms: [gradients, activations], histograms_every: 5, graph: false}
"""
WINDOW = "gradients.method={name: truncated_bptt, window: 4, update: window}"
CLIPPED = "gradients.clip={name: global_norm, limit: 0.5}"
STEP = ("gradients.method={name: rtrl, update: step}", "model={name: rnn, units: [3], cell: simple}")


def weights(result):
    return [variable.numpy() for variable in result.model.variables]


@pytest.mark.parametrize("flags", [(WINDOW, CLIPPED, "gradients.accumulate=2"), STEP], ids=["truncated", "rtrl"])
def test_a_resumed_run_has_the_states_it_left_off_with(desk, tmp_path, flags):
    """Step 7 of 14 is within a sequence, in the second pass over batches of 4, 4 and 2 sequences."""
    whole = tftrain.train(desk.load(HEAD, *flags), tmp_path / "whole")
    tftrain.train(desk.load(HEAD, *flags, "training.steps=7"), tmp_path / "run")
    again = tftrain.train(desk.load(HEAD, *flags), tmp_path / "run", resume=True)
    for mine, theirs in zip(weights(again), weights(whole), strict=True):
        assert mine.tobytes() == theirs.tobytes()
    np.testing.assert_array_equal(again.history["loss"].values, whole.history["loss"].values)


def test_pieces_are_as_the_whole(desk, tmp_path):
    flags = (WINDOW, "model.dropout=0", "training.steps=5")
    one = tftrain.train(desk.load(HEAD, *flags), tmp_path / "one")
    cut = tftrain.train(desk.load(HEAD, *flags, "gradients.accumulate=2"), tmp_path / "cut")
    # Float32 sums over the examples in another order.
    np.testing.assert_allclose(cut.history["loss"].values, one.history["loss"].values, rtol=1e-5)


def test_a_window_of_the_whole_is_backprop(desk, tmp_path):
    flags = ("model.dropout=0", "training.steps=5")
    plain = tftrain.train(desk.load(HEAD, *flags), tmp_path / "plain")
    for number, update in enumerate(("window", "sequence")):
        method = f"gradients.method={{name: truncated_bptt, window: 12, update: {update}}}"
        found = tftrain.train(desk.load(HEAD, *flags, method), tmp_path / str(number))
        np.testing.assert_allclose(found.history["loss"].values, plain.history["loss"].values, rtol=1e-6)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("data.length=14",), "sequences of 14 time steps are no whole number of windows of 4; the nearest is 2"),
        (("data.targets=last",), "its targets have the shape [1], so that only the last of several windows would have"),
        (("model=mlp", "data=digits"), "its targets have the shape [], so that"),
        (("data=wine", "model=mlp"), "its examples have the shape (13,); expected sequences [time, features]"),
    ],
)
def test_data_that_cannot_be_cut(desk, flags, said):
    with pytest.raises(InputError) as caught:
        assemble(desk.load(HEAD, WINDOW, *flags))
    assert f"gradients.method: update: window does not go with the data: {said}" in str(caught.value)


def test_a_model_without_recurrent_layers(desk):
    with pytest.raises(InputError, match="gradients.method: truncated_bptt: the model has no recurrent layer"):
        assemble(desk.load(HEAD, "model=mlp", "data=digits", "gradients.method=truncated_bptt"))
