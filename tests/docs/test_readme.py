"""What the README shows, run as it is written there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

import tftrain
from tftrain.cli import main
from tftrain.config import registry
from tftrain.config.schema import Config

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = {  # by the file name in a block's first line
    name: body
    for name, body in re.findall(
        r"^```\w+\n# (\w+\.(?:py|yaml))\n(.*?)^```", README, re.MULTILINE | re.DOTALL
    )
}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the README's files in it, as the working directory."""
    for name, body in BLOCKS.items():
        (tmp_path / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_all_files_are_there():
    assert BLOCKS.keys() == {
        *("my_models.py", "tiny.yaml", "my_parts.py", "snake.yaml"),
        *(
            "rates.yaml",
            "my_rates.py",
            "sawtooth.yaml",
            "my_probes.py",
            "direction.yaml",
        ),
    }


@pytest.mark.parametrize(
    "name, features, accuracy",
    [("tiny", 13, 0.8), ("snake", 4, 0.8), ("sawtooth", 13, 0.8)],
)
def test_own_parts(desk, name, features, accuracy):
    result = tftrain.train(tftrain.load(f"{name}.yaml"))
    assert result.folder.parent == Path("runs") and result.folder.name.startswith(
        f"{name}-"
    )
    assert result.results["test"]["accuracy"] >= accuracy
    x = np.random.default_rng(0).normal(size=(4, features)).astype("float32")
    np.testing.assert_array_equal(tftrain.load_model(result.folder)(x), result.model(x))


def test_the_rates_shown(desk):
    found = tftrain.train(tftrain.load("rates.yaml"))
    rates = found.history["learning_rate"].values
    assert (
        rates.max() == pytest.approx(0.01)
        and rates[0] < 0.01
        and found.results["validation"]["accuracy"] >= 0.8
    )


def test_the_probe_shown(desk):
    adam, plain = (
        tftrain.train(tftrain.load("direction.yaml", [*flags, "training.epochs=2"]))
        for flags in ([], ["optimizer=sgd"])
    )
    cosines = {
        name: curve.values
        for name, curve in plain.history.items()
        if name.startswith("probes/direction/")
    }
    assert [*cosines] == [
        "probes/direction/000.hidden_1/kernel",
        "probes/direction/001.hidden_2/kernel",
        "probes/direction/002.output/kernel",
    ]
    for name, values in cosines.items():
        np.testing.assert_allclose(
            values, 1, rtol=1e-4
        )  # an update is the difference of weights in float32
        assert (0.1 < adam.history[name].values).all() and (
            adam.history[name].values < 0.99
        ).all()


def test_the_config_shown_is_valid(desk):
    (shown,) = re.findall(
        r"^```yaml\n(# yaml-language-server.*?)^```", README, re.MULTILINE | re.DOTALL
    )
    (desk / "shown.yaml").write_text(shown)
    assert tftrain.load("shown.yaml").training.epochs == 30


def test_the_groups_shown_go_with_a_model(desk):
    (shown,) = re.findall(
        r"^```yaml\n(optimizer:\n  name: adamw.*?)^```",
        README,
        re.MULTILINE | re.DOTALL,
    )
    rest = "model: {name: mlp, hidden: [8, 8]}\ndata: iris\ntraining: {steps: 2}\n"
    (desk / "groups.yaml").write_text(rest + shown)
    names = tftrain.train(tftrain.load("groups.yaml")).history.keys()
    assert "grad_norm/001.hidden_2/kernel" in names and not any(
        "hidden_1" in name for name in names
    )


def test_the_mistakes_shown_are_told_as_shown(desk, capsys):
    (shown,) = re.findall(
        r"^\$ python -m tftrain --config wrong.yaml\n(.*?)^```",
        README,
        re.MULTILINE | re.DOTALL,
    )
    (desk / "wrong.yaml").write_text(
        "model: {name: cnn, filtres: [32]}\ndata: digits\noptimizer: {name: adam, learning_rate: -1}\n"
    )
    assert main(["--config", "wrong.yaml"]) == 2
    said = capsys.readouterr().err.splitlines()
    for line, pattern in zip(said, shown.splitlines(), strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\.\.\.", ".*"), line)


def test_every_section_and_its_settings_are_in_the_table():
    table = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE))
    sections = [
        name
        for name, field in Config.__dataclass_fields__.items()
        if not field.metadata.get("hidden")
    ]
    assert set(sections) <= table.keys()
    config = tftrain.load(ROOT / "configs" / "xor.yaml")
    for name in ("data", "gradients", "training", "log", "checkpoint"):
        for setting in type(getattr(config, name)).__dataclass_fields__:
            assert setting == "source" or f"`{setting}`" in table[name], (
                f"{name}.{setting} is not in the README"
            )


def test_every_clip_is_in_its_table_and_the_example_is_valid(desk):
    (section,) = re.findall(
        r"^### Clipping\n(.*?)^##", README, re.MULTILINE | re.DOTALL
    )
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(
        registry.names_of_kind("clip")
    )
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (desk / "clips.yaml").write_text(
        "model: cnn\ndata: digits\noptimizer: adam\n" + shown
    )
    assert [part.name for part in tftrain.load("clips.yaml").gradients.clip] == [
        "adaptive",
        "global_norm",
    ]


def test_every_config_that_ships_is_in_the_examples():
    listed = set(
        re.findall(r"^\| \[`(\w+\.yaml)`\]\(configs/\1\)", README, re.MULTILINE)
    )
    assert listed == {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_the_commands_shown_are_understood(desk, capsys):
    (desk / "FILE").write_text(
        yaml.safe_dump({"model": "mlp", "data": "iris", "optimizer": "adam"})
    )
    (block,) = re.findall(
        r"^```sh\n(python -m tftrain list.*?)^```", README, re.MULTILINE | re.DOTALL
    )
    commands = [
        line.partition("#")[0].removeprefix("python -m tftrain ")
        for line in block.splitlines()
    ]
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command)
        words += ["--print-config"] if "--set" in words else []
        assert main(words) == 0, command
    assert "learning_rate: 0.0003" in capsys.readouterr().out


def test_the_files_named_in_links_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
