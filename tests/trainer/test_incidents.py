"""Steps that go wrong: what is written down of them, and that they can be repeated."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import tftrain
from tftrain.cli import main
from tftrain.trainer.incidents import MAX_INCIDENTS

LOG = "log: {histograms_every: never, graph: false}\n"
HEAD = f"{LOG}data: {{name: 'faults:records', batch_size: 20}}\noptimizer: {{name: sgd, learning_rate: 0.01}}\n"
RNN = """
model:
  name: sequential
  layers:
    - {name: reshape, target_shape: [64, 1]}
    - {name: simple_rnn, units: 8, activation: linear, recurrent_initializer: {name: identity, gain: 1.0}}
    - {name: dense, units: 10}
data: {name: digits, batch_size: 100, preprocess: {name: scale, by: 0.0625}}
optimizer: {name: sgd, learning_rate: 0.003}
training: {steps: 20, seed: 1}
log: {histograms_every: never, graph: false}
"""
MARKED = f"""
model: {{name: mlp, hidden: [16]}}
data: {{name: 'faults:records', mark: true, batch_size: 7, preprocess: 'faults:mark_as_nan'}}
optimizer: adam
training: {{epochs: 2}}
{LOG}"""
# Dropout, moving averages, moments, a clip with a memory, averages: all that a step goes by, and a loss that is finite.
LATE = f"""
model:
  name: sequential
  layers:
    - {{name: dense, units: 6}}
    - 'faults:Late'
    - batch_normalization
    - {{name: dropout, rate: 0.3}}
    - {{name: dense, units: 3}}
data: {{name: 'faults:records', mark: true, batch_size: 7}}
optimizer: adam
gradients: {{clip: percentile, accumulate_steps: 1}}
training: {{epochs: 2, ema: 0.9, seed: 2}}
{LOG}"""


def dense_between(layer, more=""):
    layers = f"[{{name: dense, units: 6}}, {layer}, {{name: dense, units: 3}}]"
    return f"model: {{name: sequential, layers: {layers}}}\n{HEAD}training: {{steps: 40{more}}}\n"


def run_of(desk, text, folder):
    result = tftrain.train(desk.load(text), folder)
    found = sorted((folder / "incidents").glob("*"))
    return result, found


def replayed(capsys, folder):
    status = main(["replay", str(folder)])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture(scope="module")
def exploded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exploded")
    (folder / "rnn.yaml").write_text(RNN)
    result = tftrain.train(tftrain.load(folder / "rnn.yaml"), folder / "run")
    [incident] = (folder / "run" / "incidents").glob("*")
    return result, incident


def test_an_exploding_rnn_is_named_and_its_step_repeated(exploded, capsys):
    result, incident = exploded
    step, text = int(incident.name), (incident / "incident.txt").read_text()
    assert (
        result.failed
        and result.stopped.endswith(f"; see {incident / 'incident.txt'}")
        and step > 1
    )
    assert (
        f"at step {step}; that update was not applied" in text.splitlines()[0]
    )
    assert (
        "the first layer that went bad is 000.simple_rnn (SimpleRNN): it gives"
        in text
    )
    assert (
        "clip the gradients: gradients: {clip: {name: global_norm, limit: "
        in text
    )
    assert f"python -m tftrain replay {incident}" in text
    status, out, err = replayed(capsys, incident)
    assert (
        status == 0
        and out.splitlines()[-1].endswith(": the same as recorded")
        and err == ""
    )
    assert all(
        len(line) <= 100
        for line in out.splitlines()
        if not line.startswith("forward pass: the first")
    )
    forward = out.partition("backward pass")[0]
    assert "000.simple_rnn" in forward and "001.dense" in forward


def test_what_lies_in_an_incident(exploded):
    result, incident = exploded
    lines = [
        json.loads(line)
        for line in (incident / "signals.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == list(
        range(1, int(incident.name) + 1)
    )
    assert "grad_norm/000.simple_rnn.simple_rnn_cell/recurrent_kernel" in lines[
        0
    ] and lines[-1]["loss"] in (
        "NaN",
        "Infinity",
    )
    assert lines[0]["loss"] == result.history["loss"].values[0]
    with np.load(incident / "batch.npz", allow_pickle=False) as batch:
        assert batch["x"].shape == (100, 8, 8, 1) and batch["y"].shape == (100,)
    events = event_accumulator.EventAccumulator(
        str(result.folder), {"tensors": 0}
    )
    events.Reload()
    [shown] = events.Tensors(f"incidents/{incident.name}")
    assert shown.step == int(incident.name)
    assert (
        "first layer that went bad" in shown.tensor_proto.string_val[0].decode()
    )


def test_folders_that_cannot_be_replayed(exploded, capsys, tmp_path):
    result, incident = exploded
    copy = tmp_path / "run"

    def said(change):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(result.folder, copy)
        change(copy / "incidents" / incident.name)
        status, out, err = replayed(capsys, copy / "incidents" / incident.name)
        assert status == (1 if out else 2)
        return out.splitlines()[-1] if out else err

    config = copy / "config.yaml"
    assert "no incident folder (it holds no batch.npz)" in said(
        lambda folder: (folder / "batch.npz").unlink()
    )
    assert "batch.npz cannot be read" in said(
        lambda folder: (folder / "batch.npz").write_bytes(b"PK\3\4torn")
    )
    assert "signals.jsonl is empty" in said(
        lambda folder: (folder / "signals.jsonl").write_text("")
    )
    assert "holds no config.yaml" in said(lambda folder: config.unlink())
    cut = f"state/step-{int(incident.name) - 1}.data-00000-of-00001"
    assert "state" in said(lambda folder: (folder / cut).write_bytes(b""))
    rewritten = config.read_text
    assert "has shape" in said(
        lambda folder: config.write_text(
            rewritten().replace("units: 8", "units: 9")
        )
    )
    assert "learning_rate: recorded 0.003" in said(
        lambda folder: config.write_text(
            rewritten().replace("learning_rate: 0.003", "learning_rate: 0.02")
        )
    )


def test_a_nan_in_a_batch_is_found_with_its_column(desk, tmp_path, capsys):
    _, [incident] = run_of(desk, MARKED, tmp_path / "run")
    with np.load(incident / "batch.npz") as batch:
        (row, column), *others = np.argwhere(np.isnan(batch["x"]))
    assert not others and column == 2
    text = (incident / "incident.txt").read_text()
    assert f"batch: x column 2 of example {row} (counted from 0) is nan" in text
    assert (
        "look at the data and its preprocessing" in text
        and "000.hidden_1" in text
    )
    status, out, _ = replayed(capsys, incident)
    assert status == 0 and "the same as recorded" in out


def test_a_step_is_repeated_with_all_that_it_goes_by(desk, tmp_path, capsys):
    _, [incident] = run_of(desk, LATE, tmp_path / "run")
    last = json.loads((incident / "signals.jsonl").read_text().splitlines()[-1])
    assert (
        last["step"] > 1
        and isinstance(last["loss"], float)
        and isinstance(last["grad_norm/002.dense_1/kernel"], float)
    )
    assert last["grad_norm/000.dense/kernel"] == "NaN"
    assert (
        "from the output down, is 000.late (Late)"
        in (incident / "incident.txt").read_text()
    )
    status, out, _ = replayed(capsys, incident)
    assert (
        status == 0
        and f"loss {last['loss']:.9g}, gradient norm nan: the same as recorded"
        in out
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            dense_between(
                "{name: dense, units: 5, kernel_initializer: 'faults:spoiled'}"
            ),
            "weights: before the step 001.dense_1/kernel held 1 NaN of 30 numbers\n"
            "forward pass: the first layer that went bad is 001.dense_1 (Dense)",
        ),
        (
            dense_between("'faults:Log'"),
            "forward pass: the first layer that went bad is 000.log (Log): it gives",
        ),
        (
            dense_between("'faults:Root'"),
            "backward pass: the first that went bad, from the output down, is 000.root (Root): "
            "what 000.dense below it gets back holds",
        ),
        (
            dense_between(
                "{name: rescaling, scale: 1e6}", ", precision: mixed_float16"
            ),
            "forward pass: the first layer that went bad is 000.rescaling (Rescaling): it gives",
        ),
        (
            dense_between("'faults:Steep'", ", precision: mixed_float16"),
            "backward pass: the first that went bad, from the output down, is 000.steep (Steep): "
            "what 000.dense below it gets back holds",
        ),
    ],
    ids=["weight", "layer", "slope", "half", "half_slope"],
)
def test_the_layer_that_went_bad_is_named_and_the_step_repeated(
    desk, tmp_path, capsys, text, expected
):
    result, [incident] = run_of(desk, text, tmp_path / "run")
    told = (incident / "incident.txt").read_text()
    assert result.failed and expected in told
    assert ("mixed_bfloat16" in told) == ("float16" in text)
    status, out, _ = replayed(capsys, incident)
    assert (
        status == 0
        and "the same as recorded" in out
        and expected.splitlines()[-1] in out
    )


def test_many_incidents_are_bounded_and_the_run_goes_on(desk, tmp_path, capsys):
    text = dense_between("'faults:Log'", ", on_bad_step: skip").replace(
        "steps: 40", f"steps: {MAX_INCIDENTS + 5}"
    )
    result, found = run_of(desk, text, tmp_path / "run")
    assert [int(one.name) for one in found] == list(
        range(1, MAX_INCIDENTS + 1)
    ) and not result.failed
    assert replayed(capsys, found[4])[0] == 0


def test_an_incident_that_cannot_be_written_is_a_warning(
    desk, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(
        UserWarning,
        match="incident of step 1 could not be written: .*No space left",
    ):
        result, found = run_of(
            desk, dense_between("'faults:Log'"), tmp_path / "run"
        )
    assert (
        result.failed
        and not found
        and re.search(r"not finite at step 1;.*", result.stopped)
    )
    assert "incident.txt" not in result.stopped


def test_inspect_shows_a_model_and_both_passes(desk, tmp_path, capsys):
    desk.write(
        dense_between("{name: dense, units: 5, activation: relu}"), "seen.yaml"
    )
    assert main(["inspect", "--config", "seen.yaml"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^000\.dense +Dense +\[batch, 6\] +30 +30$", out, re.MULTILINE
    )
    assert re.search(r"^all +83 +83$", out, re.MULTILINE)
    assert (
        re.search(r"^  relu +a ", out, re.MULTILINE)
        and "backward pass, gradient norm" in out
    )
    assert max(map(len, out.splitlines())) <= 100
    assert (
        main(["--config", "seen.yaml", "--run-dir", str(tmp_path / "run")]) == 0
    )
    capsys.readouterr()
    assert main(["inspect", "--checkpoint", str(tmp_path / "run")]) == 0
    assert "step 41, a batch of 20" in capsys.readouterr().out
    assert (
        main(
            ["inspect", "--config", "seen.yaml", "--checkpoint", str(tmp_path)]
        )
        == 2
    )
    assert "it holds no checkpoint" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    "more", [", strategy: mirrored, devices: 2", ", jit_compile: true"]
)
def test_steps_on_two_devices_and_by_xla_are_repeated(desk, tmp_path, more):
    desk.write(
        LATE.replace("ema: 0.9", f"ema: 0.9{more}").replace(
            "accumulate_steps: 1", "accumulate_steps: 2"
        )
    )

    def command(*words):
        python = [sys.executable, "-m", "tftrain", *map(str, words)]
        return subprocess.run(
            python, capture_output=True, text=True, env={**os.environ}
        )

    assert (
        command(
            "--config", "config.yaml", "--run-dir", tmp_path / "run"
        ).returncode
        == 1
    )
    [incident] = (tmp_path / "run" / "incidents").glob("*")
    assert (
        "from the output down, is 000.late (Late)"
        in (incident / "incident.txt").read_text()
    )
    again = command("replay", incident)
    assert again.returncode == 0 and again.stdout.endswith(
        ": the same as recorded\n"
    ), again
