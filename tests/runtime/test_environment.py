import subprocess

import tensorflow as tf

from tftrain.runtime.environment import describe_environment, to_markdown


def test_versions_devices_and_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = describe_environment()
    assert (
        found["tensorflow"] == tf.__version__
        and "CPU:0" in found["devices"]
        and int(found["CPUs"]) > 0
    )
    assert "git commit" not in found
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    (tmp_path / "file").write_text("1")
    for words in (
        ("init", "-q"),
        ("add", "file"),
        (*identity, "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *words], check=True)
    commit = describe_environment()["git commit"]
    assert len(commit) == 40
    (tmp_path / "file").write_text("2")
    assert describe_environment()["git commit"] == f"{commit} and changes"


def test_a_table_keeps_its_columns():
    lines = to_markdown({"command": "a | b `c`"}).splitlines()
    assert lines == ["| | |", "|---|---|", "| command | `a   b  c ` |"]


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["/there/tftrain/__main__.py", "--config", "my file.yaml"]
    )
    assert (
        describe_environment()["command"]
        == "python -m tftrain --config 'my file.yaml'"
    )
    monkeypatch.setattr("sys.argv", ["/there/train.py"])
    assert describe_environment()["command"] == "train.py"
