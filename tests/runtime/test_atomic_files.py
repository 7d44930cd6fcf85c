"""A file that is replaced is there as it was or as it should be, wherever the write is cut off."""

import os
import re

import pytest

from tftrain.runtime.atomic_files import (
    WriteError,
    raising_write_error,
    sync,
    write_text,
)


def test_a_text_is_replaced_whole_and_leaves_no_draft(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    write_text(path, "größe\n")
    assert path.read_bytes() == "größe\n".encode()
    assert [found.name for found in tmp_path.iterdir()] == ["results.json"]


def test_a_text_that_cannot_be_encoded_changes_nothing(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a", "new \udc80")
    assert (tmp_path / "a").read_text() == "old" and len(
        list(tmp_path.iterdir())
    ) == 1


def test_file_and_folder_are_synced_around_the_replacement(
    tmp_path, monkeypatch
):
    done = []
    kept = {name: getattr(os, name) for name in ("fsync", "replace")}
    for name, act in kept.items():
        monkeypatch.setattr(
            os,
            name,
            lambda *given, name=name, act=act: (done.append(name), act(*given))[
                1
            ],
        )
    write_text(tmp_path / "a", "new")
    assert done == ["fsync", "replace", "fsync"]


def test_what_cannot_be_written_is_one_line_with_path_and_reason(tmp_path):
    path = tmp_path / "gone" / "a"
    with pytest.raises(
        WriteError,
        match=f"^{re.escape(str(path))} cannot be written: No such file or directory$",
    ):
        write_text(path, "new")
    with (
        pytest.raises(
            WriteError, match="^log cannot be written: No space left on device$"
        ),
        raising_write_error("log", LookupError),
    ):
        raise LookupError(
            "{{node x}} /a/b; No space left on device [Op:SaveV2]"
        )


def test_a_folder_can_be_synced(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda descriptor: (
            synced.append(os.fstat(descriptor)) or fsync(descriptor)
        ),
    )
    sync(tmp_path)
    assert [one.st_ino for one in synced] == [tmp_path.stat().st_ino]
