"""The commit of a repository, without running anything that the repository names."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tftrain.runtime.repository import find_commit, has_changes

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.com")


def git(folder, *words):
    done = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "inner").mkdir()
    (folder / "file").write_text("1")
    (folder / "inner" / "other").write_text("some text\n")
    (folder / "link").symlink_to("file")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def arm(folder):
    """Everything by which a repository can have git run a program; the program leaves a file."""
    struck = folder.parent / "struck"
    program = folder.parent / "program"
    program.write_text(f"#!/bin/sh\ntouch '{struck}'\ncat\n")
    program.chmod(0o755)
    hooks = folder.parent / "hooks"
    hooks.mkdir()
    for name in (
        "post-index-change",
        "fsmonitor-watchman",
        "reference-transaction",
        "post-checkout",
    ):
        shutil.copy(program, hooks / name)
    for key in (
        "core.fsmonitor",
        "filter.evil.clean",
        "filter.evil.process",
        "diff.external",
        "diff.evil.textconv",
        "diff.evil.command",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "gpg.program",
    ):
        git(folder, "config", key, str(program))
    git(folder, "config", "core.hooksPath", str(hooks))
    for alias in ("status", "rev-parse", "diff-index"):
        git(folder, "config", f"alias.{alias}", f"!{program}")
    (folder / ".git" / "info" / "attributes").write_text(
        "* filter=evil diff=evil\n"
    )
    os.utime(folder / "file", (1, 1))
    struck.unlink(missing_ok=True)
    return struck


def test_nothing_that_a_repository_names_is_run(repository):
    commit = git(repository, "rev-parse", "HEAD")
    struck = arm(repository)
    assert find_commit(repository) == commit
    assert not has_changes(repository)
    (repository / "file").write_text("2")
    assert has_changes(repository)
    assert not struck.exists()
    subprocess.run(
        ["git", "-C", str(repository), "status"], capture_output=True
    )
    assert struck.exists(), "git would have run it"


def test_no_program_is_started(repository, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a process was started")

    for name in ("Popen", "run"):
        monkeypatch.setattr(subprocess, name, refuse)
    monkeypatch.setattr(os, "system", refuse)
    assert find_commit(repository) and not has_changes(repository)


@pytest.mark.parametrize(
    "kind",
    [
        "branch",
        "inner folder",
        "detached",
        "packed",
        "worktree",
        "submodule",
        "sha256",
    ],
)
def test_every_kind_of_repository(repository, tmp_path, kind):
    folder = repository
    if kind == "branch":
        git(folder, "checkout", "-qb", "topic/a.b")
    elif kind == "inner folder":
        folder = folder / "inner"
    elif kind == "detached":
        git(folder, "checkout", "-q", "--detach")
    elif kind == "packed":
        git(folder, "tag", "main-other")
        git(folder, "pack-refs", "--all")
    elif kind == "worktree":
        git(folder, "pack-refs", "--all")
        git(
            folder,
            "worktree",
            "add",
            "-q",
            str(tmp_path / "tree"),
            "-b",
            "topic",
        )
        folder = tmp_path / "tree"
        (folder / "file").write_text("of the tree")
        git(folder, "commit", "-qam", "second")
    elif kind == "submodule":
        other = tmp_path / "other"
        other.mkdir()
        git(other, "init", "-q")
        git(
            other,
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            str(folder),
            "inner",
        )
        folder = other / "inner"
    elif kind == "sha256":
        folder = tmp_path / "long"
        folder.mkdir()
        git(folder, "init", "-q", "--object-format=sha256")
        (folder / "file").write_text("1")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "first")
    assert find_commit(folder) == git(folder, "rev-parse", "HEAD")
    assert not has_changes(folder)
    path = folder / ("other" if kind == "inner folder" else "file")
    content = path.read_text()
    path.write_text(content)  # the same, at another time
    assert not has_changes(folder)
    path.unlink()
    assert has_changes(folder)


def hostile(git_folder, kind):
    head = git_folder / "HEAD"
    if kind == "pipe":
        head.unlink()
        os.mkfifo(head)
    elif kind == "huge":
        with open(head, "wb") as file:
            file.truncate(2**36)
    elif kind == "link to a device":
        head.unlink()
        head.symlink_to("/dev/zero")
    elif kind == "circle of links":
        head.unlink()
        head.symlink_to("HEAD")
    elif kind == "circle of references":
        (git_folder / "refs" / "heads" / "main").write_text(
            "ref: refs/heads/main\n"
        )
    elif kind == "out of the repository":
        (git_folder.parent.parent / "secret").write_text("0" * 40)
        head.write_text("ref: refs/../../../secret\n")
    elif kind == "no reference":
        head.write_text("ref: /etc/passwd\n")
    elif kind == "not text":
        head.write_bytes(bytes(range(256)))
    elif kind == "a NUL":
        head.write_text("ref: refs/heads/ma\0in\n")
    elif kind == "reftable":
        head.write_text("ref: refs/heads/.invalid\n")


KINDS = [
    "pipe",
    "huge",
    "link to a device",
    "circle of links",
    "circle of references",
    "out of the repository",
]
KINDS += ["no reference", "not text", "a NUL", "reftable"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_repository_that_is_none_has_no_commit(repository, kind):
    hostile(repository / ".git", kind)
    assert find_commit(repository) is None


@pytest.mark.parametrize("kind", ["cut", "pipe", "noise", "none", "version 4"])
def test_an_index_that_cannot_be_read_tells_of_no_change(repository, kind):
    index = repository / ".git" / "index"
    if kind == "version 4":
        git(repository, "update-index", "--index-version", "4")
    elif kind == "cut":
        os.truncate(index, 90)
    elif kind == "noise":
        index.write_bytes(
            b"DIRC\0\0\0\2\xff\xff\xff\xff" + bytes(range(256)) * 9
        )
    else:
        index.unlink()
        if kind == "pipe":
            os.mkfifo(index)
    (repository / "inner" / "other").write_text("changed")
    assert not has_changes(repository)
    assert find_commit(repository) == git(repository, "rev-parse", "main")


def test_outside_of_repositories_and_in_a_folder_that_is_gone_there_is_none(
    tmp_path, monkeypatch
):
    assert find_commit(tmp_path) is None and not has_changes(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    from pathlib import Path

    assert find_commit(Path()) is None and not has_changes(Path())
