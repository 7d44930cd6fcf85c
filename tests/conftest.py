from __future__ import annotations

import importlib
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tftrain

OWN = Path(__file__).parent / "user_code"
GOOD = "model: mlp\ndata: iris\noptimizer: adam\n"

# What is started in the background ignores Ctrl-C, or a closed terminal, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def own_parts(tmp_path_factory):
    """A folder with a user's own modules, importable as those of the working directory are."""
    folder = tmp_path_factory.mktemp("desk") / "own"
    shutil.copytree(OWN, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "broken.py").write_text(
        "broken = = 1\n"
    )  # made here, for no tool should stumble over it
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def desk(own_parts, monkeypatch):
    """Configs written, loaded and found wrong in the working directory of a user."""
    monkeypatch.chdir(own_parts)

    def write(text, name="config.yaml"):
        Path(name).write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )
        return Path(name)

    def load(text, *flags):
        return tftrain.load(write(text), flags)

    def refused(text, *flags):
        with pytest.raises(tftrain.ConfigError) as caught:
            load(text, *flags)
        return caught.value

    def problems(text, *flags):
        found = refused(text, *flags)
        assert str(found) == "\n".join(found.problems)
        return [line.removeprefix("config.yaml:") for line in found.problems]

    return SimpleNamespace(
        good=GOOD, write=write, load=load, refused=refused, problems=problems
    )
