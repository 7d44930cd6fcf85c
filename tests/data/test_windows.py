"""Whole runs whose steps take in windows of sequences."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tftrain
from tftrain.data.window_source import WindowSource
from tftrain.runtime.errors import InputError
from tftrain.trainer.build import build_run
from tftrain.trainer.replay import replay_step

HEAD = """
model: {name: rnn, units: [4, 3], cell: lstm, dropout: 0.2}
data: {name: sine, examples: 10, length: 12, targets: each, batch_size: 4}
optimizer: {name: adam, learning_rate: 0.01}
training: {steps: 14, steps_per_call: 4}
log: {scalars: 1, histograms: [gradients, activations], histograms_every: 5, graph: false}
"""
WINDOW = "gradients.method={name: truncated_bptt, window: 4, update: window}"
CLIPPED = "gradients.clip={name: global_norm, limit: 0.5}"
STEP = (
    "gradients.method={name: rtrl, update: step}",
    "model={name: rnn, units: [3], cell: simple}",
)


def weights(result):
    return [variable.numpy() for variable in result.model.variables]


@pytest.mark.parametrize(
    "flags",
    [(WINDOW, CLIPPED, "gradients.accumulate_steps=2"), STEP],
    ids=["truncated", "rtrl"],
)
def test_a_resumed_run_has_the_states_it_left_off_with(desk, tmp_path, flags):
    """Step 7 of 14 is within a sequence, in the second pass over batches of 4, 4 and 2 sequences."""
    whole = tftrain.train(desk.load(HEAD, *flags), tmp_path / "whole")
    tftrain.train(desk.load(HEAD, *flags, "training.steps=7"), tmp_path / "run")
    again = tftrain.train(
        desk.load(HEAD, *flags), tmp_path / "run", resume=True
    )
    for mine, theirs in zip(weights(again), weights(whole), strict=True):
        assert mine.tobytes() == theirs.tobytes()
    np.testing.assert_array_equal(
        again.history["loss"].values, whole.history["loss"].values
    )


@pytest.mark.long
def test_pieces_are_as_the_whole(desk, tmp_path):
    flags = (WINDOW, "model.dropout=0", "training.steps=5")
    one = tftrain.train(desk.load(HEAD, *flags), tmp_path / "one")
    cut = tftrain.train(
        desk.load(HEAD, *flags, "gradients.accumulate_steps=2"),
        tmp_path / "cut",
    )
    # Float32 sums over the examples in another order.
    np.testing.assert_allclose(
        cut.history["loss"].values, one.history["loss"].values, rtol=1e-5
    )


def test_a_window_of_the_whole_is_backprop(desk, tmp_path):
    flags = ("model.dropout=0", "training.steps=5")
    plain = tftrain.train(desk.load(HEAD, *flags), tmp_path / "plain")
    for number, update in enumerate(("window", "sequence")):
        method = f"gradients.method={{name: truncated_bptt, window: 12, update: {update}}}"
        found = tftrain.train(
            desk.load(HEAD, *flags, method), tmp_path / str(number)
        )
        np.testing.assert_allclose(
            found.history["loss"].values,
            plain.history["loss"].values,
            rtol=1e-6,
        )


class Numbered:
    """A feed of 3 batches to an epoch, which gives the numbers of those that it is asked for."""

    steps_per_epoch, examples, prepared, signature = 3, 12, True, ()

    def run_length(self, step):
        return 3 - step % 3

    def serve(self, step, count):
        assert count <= self.run_length(step), (
            f"{count} batches from {step} on are more than one call spans"
        )
        return range(step, step + count)


def test_one_call_spans_no_more_than_the_batches_do():
    """Of batches in 4 windows each, from any window on: all up to the end of what the batches' own feed spans."""
    feed = WindowSource(Numbered(), 4)
    for step in range(2 * feed.steps_per_epoch):
        count = feed.run_length(step)
        served = feed.serve(step, count)
        steps = [(int(served["place"]) + index) // 4 for index in range(count)]
        assert [served["batches"][batch] for batch in steps] == [
            at // 4 for at in range(step, step + count)
        ]
        assert (step + count) % feed.steps_per_epoch == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("data.length=14",),
            "sequences of 14 time steps are no whole number of windows of 4; the nearest is 2",
        ),
        (
            ("data.targets=last",),
            "its targets have the shape [1], so that only the last of several windows would have",
        ),
        (
            ("model=mlp", "data=digits"),
            "its targets have the shape [], so that",
        ),
        (
            ("data=wine", "model=mlp"),
            "its examples have the shape (13,); expected sequences [time, features]",
        ),
    ],
)
def test_data_that_cannot_be_cut(desk, flags, said):
    with pytest.raises(InputError) as caught:
        build_run(desk.load(HEAD, WINDOW, *flags))
    assert (
        f"gradients.method: update: window does not go with the data: {said}"
        in str(caught.value)
    )


@pytest.mark.long
def test_half_precision_and_xla_carry_states_too(desk, tmp_path):
    flags = (WINDOW, "model.units=[3]", "model.dropout=0", "training.steps=5")
    single = (
        tftrain.train(desk.load(HEAD, *flags), tmp_path / "single")
        .history["loss"]
        .values
    )
    for number, (setting, rtol) in enumerate(
        [("precision=mixed_float16", 0.01), ("jit_compile=true", 1e-5)]
    ):
        found = tftrain.train(
            desk.load(HEAD, *flags, f"training.{setting}"),
            tmp_path / str(number),
        )
        np.testing.assert_allclose(
            found.history["loss"].values, single, rtol=rtol
        )


@pytest.mark.long
def test_an_incident_within_a_sequence_is_repeated_to_the_bit(desk, tmp_path):
    flags = (
        WINDOW,
        "optimizer={name: sgd, learning_rate: 1e30}",
        "training.spike_factor=never",
    )
    config = desk.load(HEAD, *flags)
    tftrain.train(config, tmp_path / "run")
    (folder,) = (tmp_path / "run" / "incidents").iterdir()
    assert (
        int(folder.name) % 3 != 1
    )  # within a sequence, which starts at steps 1, 4, 7
    assert replay_step(config, folder).same


def test_a_model_without_recurrent_layers(desk):
    with pytest.raises(
        InputError,
        match="gradients.method: truncated_bptt: the model has no recurrent layer",
    ):
        build_run(
            desk.load(
                HEAD,
                "model=mlp",
                "data=digits",
                "gradients.method=truncated_bptt",
            )
        )


@pytest.mark.long
def test_two_devices_carry_their_own_rows(desk, tmp_path):
    """Of batches of 4, 4 and 2 sequences, in two pieces each; a resumed run goes on with the states of both devices."""
    flags = (WINDOW, "model.dropout=0", "gradients.accumulate_steps=2")
    expected = (
        tftrain.train(desk.load(HEAD, *flags), tmp_path / "one")
        .history["loss"]
        .values
    )
    config = desk.write(HEAD).absolute()

    def train(folder, *words):
        settings = [
            *flags,
            "training.strategy=mirrored",
            "training.devices=2",
            *words,
        ]
        command = [
            sys.executable,
            "-m",
            "tftrain",
            "--config",
            config,
            "--run-dir",
            tmp_path / folder,
            "--resume",
        ]
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command += [word for flag in settings for word in ("--set", flag)]
        subprocess.run(
            command,
            env=environment,
            check=True,
            timeout=300,
            capture_output=True,
        )
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return [
            json.loads(line)["loss"]
            for line in lines
            if "loss" in json.loads(line)
        ]

    train("again", "training.steps=7")
    again, whole = train("again"), train("whole")
    assert again == whole
    np.testing.assert_allclose(
        whole, expected, rtol=1e-4
    )  # float32 sums in another order, over 14 updates
