import io
import os
import re

import pytest

from tftrain import run_folder
from tftrain.run_folder import RunFolderError, check, claim, safe_name


def test_the_default_is_a_new_folder_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder.time, "strftime", lambda form: "20250102-030405")
    folders = [claim(None, "digits cnn", resume=False) for _ in range(3)]
    assert [str(folder) for folder in folders] == [
        os.path.join("runs", "digits-cnn-20250102-030405" + end) for end in ("", "-2", "-3")
    ]
    assert all(folder.is_dir() for folder in folders)


def test_the_default_name_carries_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(r"xor-\d{8}-\d{6}", claim(None, "xor", resume=False).name)


def test_a_given_folder_is_made_or_taken_when_empty(tmp_path):
    assert claim(tmp_path / "a" / "b", "x", resume=False).is_dir()
    assert claim(tmp_path / "a" / "b", "x", resume=False) == tmp_path / "a" / "b"
    assert claim(tmp_path / "new", "x", resume=True).is_dir()


def test_a_run_is_never_overwritten_but_can_be_resumed(tmp_path):
    (tmp_path / "config.yaml").write_text("model: mlp\n")
    with pytest.raises(RunFolderError, match="not empty; give another --run-dir, or --resume"):
        claim(tmp_path, "x", resume=False)
    assert claim(tmp_path, "x", resume=True) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_what_is_no_run_is_not_resumed(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds no config.yaml"):
        claim(tmp_path, "x", resume=True)
    with pytest.raises(RunFolderError, match="--resume needs --run-dir"):
        claim(None, "x", resume=True)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunFolderError, match="file is a file; give another --run-dir"):
            claim(path, "x", resume=False)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(run_folder.tempfile, "TemporaryFile", refuse)  # as root no folder is closed
    with pytest.raises(RunFolderError, match=r"cannot write there \(Permission denied\)"):
        claim(tmp_path, "x", resume=False)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, written):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder.tempfile, "TemporaryFile", lambda dir: Full())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunFolderError, match=r"cannot write there \(No space left on device\)"):
        claim(tmp_path / "new" / "run", "x", resume=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunFolderError, match=r"cannot write there \(No space left on device\)"):
        claim(None, "x", resume=False)
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_check_refuses_the_same_and_makes_nothing(tmp_path):
    check(tmp_path / "new" / "run", resume=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunFolderError, match="not empty"):
            check(tmp_path, resume)


def test_errors_are_one_line(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(RunFolderError) as error:
        claim(tmp_path, "x", resume=False)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("digits_cnn", "digits_cnn"), ("../../etc", "etc"), ("a/b c", "a-b-c"), ("", "run"), ("...", "run")],
)
def test_safe_name(name, safe):
    assert safe_name(name) == safe


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(RunFolderError, match="File name too long"):
        check(tmp_path / ("x" * 300), resume=False)
