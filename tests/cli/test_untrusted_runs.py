"""A run's folder from elsewhere: damaged or made files are told in a line, and no link leads a read or a write out."""

from __future__ import annotations

import io
import os
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tftrain import load_model
from tftrain.cli import main
from tftrain.runtime.untrusted import Unreadable
from tftrain.trainer.incidents import read_signals

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="links and pipes are made as on POSIX"
)
CONFIG = """\
model: {name: mlp, hidden: [4]}
data: {name: iris, validation: 0.2}
optimizer: {name: sgd, learning_rate: 1.0e+30}
training: {steps: 6, on_bad_step: skip}
checkpoint: {every: 2}
"""
SECRET = "the secret of another file"
HUGE = 10 * 2**30  # bytes of a file with a hole, which takes no room
DAMAGES = {
    "empty": b"",
    "{}": b"{}",
    "[]": b"[]",
    "a number": b"7",
    "wrong types": b'{"step": "x", "steps": [1], "wall_seconds": {}, "train": 3, "stopped": 1, "time": [1]}\n',
    "large numbers": b'{"step": 1e999, "steps": 1e400, "seconds": '
    + b"9" * 400
    + b', "wall_seconds": 1, "loss": '
    b"1"
    + b"0" * 400
    + b"}\n"
    + b'{"step": '
    + b"9" * 30
    + b', "wall_seconds": 1}\n',
    "too many digits": b'{"step": ' + b"9" * 10_000 + b"}\n",
    "NaN": b'{"step": NaN, "steps": NaN, "wall_seconds": NaN, "loss": NaN, "train": {"loss": NaN}}\n',
    "nested": b"[" * 200_000 + b"]" * 200_000 + b"\n",
    "nested mappings": b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"\n",
    "garbage": bytes(range(256)) * 40,
    "not UTF-8": b'{"step": 1, "wall_seconds": 1, "\xff\xfe": 2}\n',
    "escape codes": b'{"step": 1, "wall_seconds": 1, "\\u001b]0;x\\u0007$\\\\frac{": 2, "loss": 1}\n',
    "odd names": b'{"step": 1, "wall_seconds": 1, "": 2, "grad_norm/": 2, "clip/x/norm_before": 1, "__proto__": 1}\n',
}
READERS = {
    "report": ["report", "run", "--out", "out.html"],
    "plot": ["plot", "run", "--out", "out.png"],
    "replay": ["replay", "run/incidents/00000002"],
    "inspect": ["inspect", "--config", "config.yaml", "--checkpoint", "run"],
    "resume": ["--config", "config.yaml", "--resume", "--run-dir", "run"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that is over, whose steps all went wrong."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "config.yaml").write_text(CONFIG)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["--config", "config.yaml", "--run-dir", "run"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def desk(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(SECRET)
    return tmp_path / "desk"


@pytest.fixture(autouse=True)
def soon():
    """What waits for a named pipe or reads without an end is cut off."""

    def ring(*_):
        raise TimeoutError("it takes too long")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(capsys, words):
    try:
        status = main(words)
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert all(
        line.isprintable()
        for line in (out + err).replace("\t", " ").splitlines()
    ), f"{out}{err}"
    return status, out, err


def outside(desk):
    return {
        path.name: path.read_text()
        for path in (desk.parent / "outside").rglob("*")
        if path.is_file()
    }


def fresh(made, desk):
    shutil.rmtree(desk / "run")
    shutil.copytree(made / "run", desk / "run")


@pytest.mark.parametrize(
    "file",
    [
        "metrics.jsonl",
        "results.json",
        "config.yaml",
        "incidents/00000002/incident.txt",
    ],
)
def test_report_and_plot_take_any_content(desk, capsys, file):
    for kind, content in DAMAGES.items():
        Path("run", file).write_bytes(content)
        for reader in (
            ("report", "plot") if file == "metrics.jsonl" else ("report",)
        ):
            status, _, err = run(capsys, READERS[reader])
            assert status in ((0,) if reader == "report" else (0, 2)), (
                f"{reader}, {kind}: {err}"
            )
            assert err.count("\n") <= 1, f"{reader}, {kind}: {err}"


def test_a_file_of_ten_gigabytes_is_not_read(desk, capsys, made):
    for file in (
        "metrics.jsonl",
        "results.json",
        "config.yaml",
        "incidents/00000002/incident.txt",
    ):
        fresh(made, desk)
        with open(Path("run", file), "wb") as huge:
            huge.truncate(HUGE)
        assert run(capsys, READERS["report"])[0] == 0
        text = Path("out.html").read_text()
        assert f"{file} " in text and ("more than " in text), file
        assert run(capsys, READERS["plot"])[0] == (
            2 if file == "metrics.jsonl" else 0
        )


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_numbers_of_a_damaged_incident_are_floats_or_none(desk, kind):
    folder = Path("run/incidents/00000002")
    (folder / "signals.jsonl").write_bytes(DAMAGES[kind])
    try:
        values = read_signals(folder).values()
    except Unreadable as error:
        assert (
            str(error).startswith(str(folder / "signals.jsonl"))
            and str(error).isprintable()
        )
    else:
        assert all(isinstance(value, float) for value in values)


@pytest.mark.long
@pytest.mark.parametrize(
    "file",
    ["signals.jsonl", "batch.npz", "state/checkpoint", "state/step-1.index"],
)
def test_a_damaged_incident_is_one_line(desk, capsys, file):
    path = Path("run/incidents/00000002", file)
    whole = path.read_bytes()
    for content in (b"", DAMAGES["garbage"], whole[: len(whole) // 2]):
        path.write_bytes(content)
        status, out, err = run(capsys, READERS["replay"])
        assert "Traceback" not in err and (status == 2 or "recorded" in out), (
            f"{content[:20]}: {out}{err}"
        )


def npz(**arrays):
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def promising(shape, dtype="<f4"):
    """An archive whose array says it has a shape, and has nothing of it."""
    header = (
        f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(
            117
        )
        + "\n"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("x", "y"):
            archive.writestr(
                f"{name}.npy",
                b"\x93NUMPY\x01\x00"
                + len(header).to_bytes(2, "little")
                + header.encode(),
            )
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(x=np.zeros((2, 4), np.float32)), "holds x; expected x, y"),
        (
            npz(x=np.zeros((2, 4)), y=np.zeros(2, np.int32)),
            "holds 'x' as float64",
        ),
        (
            npz(x=np.full((2, 4), "a"), y=np.zeros(2, np.int32)),
            "holds 'x' as <U1",
        ),
        (npz(x=np.zeros((2, 4), np.float32), y=np.zeros(3, np.int32)), "y"),
        (
            npz(x=np.array([None]), y=np.zeros(2, np.int32)),
            "holds 'x' as object",
        ),
        (promising((2**40, 4)), "holds 'x', which is too large"),
        (promising((-5, 4)), "'x'"),
        (promising((2, 4)), "holds 'x' without the 32 bytes of its shape"),
        (promising((2, 4), "O"), "holds 'x' as object"),
        (promising("(" * 200 + ")" * 200), "cannot be read"),
        (b"PK\x05\x06" + bytes(18), "holds nothing; expected x, y"),
    ],
)
def test_arrays_that_do_not_fit_are_not_unpacked(
    desk, capsys, content, message
):
    Path("run/incidents/00000002/batch.npz").write_bytes(content)
    status, out, err = run(capsys, READERS["replay"])
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert message in err and "run/incidents/00000002/batch.npz" in err


def test_names_in_a_run_do_not_command_the_terminal(desk, capsys):
    signals = Path("run/incidents/00000002/signals.jsonl")
    text = signals.read_text().splitlines()[-1]
    signals.write_text(
        text.replace(
            '"loss"',
            '"\\u001b[2J\\u001b]0;owned\\u0007\\nloss: the same as recorded": 1, "loss"',
        )
        + "\n"
    )
    status, out, _ = run(capsys, READERS["replay"])
    assert status == 1 and "\\x1b[2J\\x1b]0;owned\\x07\\nloss: the same" in out


@pytest.mark.long
@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"window": 3}',
        '{"skips": {"count": "x"}}',
        "[" * 100_000,
        "7",
        '{"reservoirs": []}',
    ],
)
def test_what_a_checkpoint_remembers_may_be_anything(desk, capsys, content):
    import tensorflow as tf

    from tftrain.core.checkpoint import complete_checkpoints

    folder = Path("run/checkpoints")
    for name in complete_checkpoints(folder):
        path = str(folder / name)
        reader = tf.train.load_checkpoint(path)
        keys = sorted(reader.get_variable_to_shape_map())
        values = [
            tf.constant(content) if key == "host" else reader.get_tensor(key)
            for key in keys
        ]
        tf.raw_ops.SaveV2(
            prefix=path,
            tensor_names=keys,
            shape_and_slices=[""] * len(keys),
            tensors=values,
        )
    status, _, err = run(
        capsys, [*READERS["resume"], "--set", "training.steps=8"]
    )
    # Runs of before remember `reservoirs`, which is ignored.
    if content not in ("{}", '{"reservoirs": []}'):
        assert (status, err.count("\n")) == (2, 1) and err.startswith(
            "cannot go on with run: what its"
        ), err
    else:
        assert status in (0, 1)


@pytest.mark.long
@pytest.mark.parametrize(
    "content", [DAMAGES["garbage"], b"", b"{}", DAMAGES["nested"]]
)
@pytest.mark.parametrize(
    "file", ["checkpoint", "step-6.index", "step-6.data-00000-of-00001"]
)
def test_damaged_checkpoints_are_passed_over(desk, capsys, file, content):
    Path("run/checkpoints", file).write_bytes(content)
    status, _, err = run(capsys, READERS["inspect"])
    assert status in (0, 2) and "Traceback" not in err


PLANTED = [
    *(
        ".lock",
        "metrics.jsonl",
        "results.json",
        "config.yaml",
        "model.keras",
        "checkpoints",
        "checkpoints/best",
    ),
    *(
        "val",
        "pictures",
        "plugins",
        "incidents",
        ".draft.x",
        "checkpoints/checkpoint",
        "checkpoints/step-6.index",
    ),
    *(
        "events.out.tfevents.9999999999.000000.x",
        "incidents/00000001",
        "incidents/00000002/incident.txt",
    ),
    *("incidents/00000002/batch.npz", "incidents/00000002/state"),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (name, "a folder")
            for name in (
                "metrics.jsonl",
                "results.json",
                "model.keras",
                ".lock",
                "checkpoints/x.index",
            )
        ),
        *(
            (name, "a folder")
            for name in (
                "events.out.tfevents.1.x.hparams",
                "events.out.tfevents.1",
                "preprocess.npz",
            )
        ),
        *(
            (name, "a file")
            for name in (
                "checkpoints",
                "checkpoints/best",
                "incidents",
                "val",
                "pictures",
                "plugins",
            )
        ),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_told(desk, capsys, name, kind):
    path = Path("run", name)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.mkdir() if kind == "a folder" else path.write_text("x")
    status, _, err = run(capsys, READERS["resume"])
    assert (status, err.count("\n")) == (
        2,
        1,
    ) and f"run/{name} is {kind}, where a run has " in err
    assert run(capsys, READERS["report"])[0] == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "nothing"])
def test_what_leads_out_of_a_run_is_refused_before_anything_is_read_or_written(
    desk, capsys, made, kind
):
    """Resuming, and reading what a checkpoint or an incident holds."""
    target = (
        desk.parent
        / "outside"
        / ("file" if kind == "file" else "new" if kind == "nothing" else "")
    )
    for name in PLANTED:
        fresh(made, desk)
        path = Path("run", name)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(target)
        for reader in ("resume", "inspect", "replay"):
            status, _, err = run(capsys, READERS[reader])
            assert (status, err.count("\n")) == (2, 1), (
                f"{reader}, {name}: {err}"
            )
            assert reader == "replay" or f"run/{name} is " in err, (
                f"{reader}, {name}: {err}"
            )
        assert path.is_symlink() or kind == "pipe"
        assert (
            run(capsys, READERS["report"])[0] == 0
            and SECRET not in Path("out.html").read_text()
        ), name
        assert run(capsys, READERS["plot"])[0] == (
            2 if name == "metrics.jsonl" else 0
        ), name
        with pytest.raises(ValueError, match=f"run/{name} is "):
            load_model("run")
    assert outside(desk) == {"file": SECRET}


def test_a_config_of_a_run_does_not_lead_a_report_elsewhere(desk, capsys):
    Path(desk.parent, "outside", "other.yaml").write_text(
        f"model: '{SECRET}'\n"
    )
    shutil.copytree("run", "second")
    Path("second/config.yaml").write_text("base: ../../outside/other.yaml\n")
    assert run(capsys, ["report", "run", "second", "--out", "out.html"])[0] == 0
    assert SECRET not in Path("out.html").read_text()


def test_reports_and_plots_are_written_where_they_are_named(desk, capsys):
    for name in (
        ".draft.report.html",
        ".draft.curves.png",
        "report.html",
        "curves.png",
    ):
        Path("run", name).symlink_to(desk.parent / "outside" / "file")
    assert (
        run(capsys, ["report", "run"])[0] == 0
        and run(capsys, ["plot", "run"])[0] == 0
    )
    assert outside(desk) == {"file": SECRET}
    assert (
        not Path("run/report.html").is_symlink()
        and not Path("run/curves.png").is_symlink()
    )


@pytest.mark.long
def test_a_run_behind_a_link_goes_on(desk, capsys):
    """A folder of runs may be a link to a larger disk, and so may a run's own."""
    shutil.move("run", desk.parent / "outside" / "run")
    Path("runs").symlink_to(desk.parent / "outside")
    Path("latest").symlink_to(desk.parent / "outside" / "run")
    words = [
        "--config",
        "config.yaml",
        "--resume",
        "--set",
        "training.steps=8",
        "--run-dir",
    ]
    assert run(capsys, [*words, "runs/run"])[0] == 0
    words[4] = "training.steps=10"
    assert run(capsys, [*words, "latest"])[0] == 0
    assert main(["report", "latest"]) == 0 and main(["plot", "runs/run"]) == 0


def test_files_of_the_users_own_in_a_run_may_be_links(desk, capsys):
    Path("run/notes").symlink_to(desk.parent / "outside")
    assert run(capsys, READERS["resume"])[0] == 0
