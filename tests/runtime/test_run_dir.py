import errno
import io
import os
import re

import pytest

from tftrain.runtime import run_dir, run_lock
from tftrain.runtime.run_dir import (
    RunFolderError,
    acquire,
    ensure_available,
    safe_name,
)


def claimed(run_dir, name="x", resume=False):
    with acquire(run_dir, name, resume) as folder:
        return folder


def test_the_default_is_a_new_folder_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        run_dir.time, "strftime", lambda form: "20250102-030405"
    )
    folders = [claimed(None, "digits cnn") for _ in range(3)]
    assert [str(folder) for folder in folders] == [
        os.path.join("runs", "digits-cnn-20250102-030405" + end)
        for end in ("", "-2", "-3")
    ]
    assert all(folder.is_dir() for folder in folders)


def test_the_default_name_carries_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(r"xor-\d{8}-\d{6}", claimed(None, "xor").name)


def test_a_given_folder_is_made_or_taken_when_empty(tmp_path):
    assert claimed(tmp_path / "a" / "b").is_dir()
    assert claimed(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert claimed(tmp_path / "new", resume=True).is_dir()


def test_a_run_is_never_overwritten_but_can_be_resumed(tmp_path):
    (tmp_path / "config.yaml").write_text("model: mlp\n")
    with pytest.raises(
        RunFolderError, match="not empty; give another --run-dir, or --resume"
    ):
        claimed(tmp_path)
    assert claimed(tmp_path, resume=True) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_what_is_no_run_is_not_resumed(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds no config.yaml"):
        claimed(tmp_path, resume=True)
    with pytest.raises(RunFolderError, match="--resume needs --run-dir"):
        claimed(None, resume=True)


@pytest.mark.parametrize("name", ["run [2]", "what?", "a*b", "a\\b"])
def test_a_name_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(
        RunFolderError, match="for patterns; give another --run-dir"
    ):
        claimed(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            RunFolderError, match="file is a file; give another --run-dir"
        ):
            claimed(path)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path, monkeypatch, number
):
    def refuse(*given):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(
        run_lock.os, "write" if number == errno.ENOSPC else "open", refuse
    )  # to root no folder is closed
    with pytest.raises(
        RunFolderError, match=rf"cannot write there \({os.strerror(number)}\)"
    ):
        claimed(tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_of_its_drafts_is_swept(tmp_path):
    (tmp_path / ".lock").write_text("1")
    (tmp_path / ".draft.config.yaml").write_text("model: ml")
    ensure_available(tmp_path, resume=False)
    (tmp_path / "config.yaml").write_text("model: mlp\n")
    (tmp_path / ".draft.model.keras").write_text("half")
    claimed(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_in_use_is_refused_and_left_as_it_is(tmp_path):
    with acquire(tmp_path, "x", resume=False):
        before = sorted(tmp_path.iterdir())
        for resume in (False, True):
            for ask in (
                ensure_available,
                lambda folder, resume: claimed(folder, resume=resume),
            ):
                with pytest.raises(
                    RunFolderError,
                    match=f"^run folder {tmp_path}: in use by process {os.getpid()}; wait",
                ):
                    ask(tmp_path, resume)
        assert sorted(tmp_path.iterdir()) == before
    assert claimed(tmp_path) == tmp_path


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, written):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_dir.tempfile, "TemporaryFile", lambda dir: Full())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RunFolderError, match=r"cannot write there \(No space left on device\)"
    ):
        claimed(tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        RunFolderError, match=r"cannot write there \(No space left on device\)"
    ):
        claimed(None)
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_check_refuses_the_same_and_makes_nothing(tmp_path):
    ensure_available(tmp_path / "new" / "run", resume=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunFolderError, match="not empty"):
            ensure_available(tmp_path, resume)


def test_errors_are_one_line(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(RunFolderError) as error:
        claimed(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("digits_cnn", "digits_cnn"),
        ("../../etc", "etc"),
        ("a/b c", "a-b-c"),
        ("", "run"),
        ("...", "run"),
    ],
)
def test_safe_name(name, safe):
    assert safe_name(name) == safe


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(RunFolderError, match="File name too long"):
        ensure_available(tmp_path / ("x" * 300), resume=False)
