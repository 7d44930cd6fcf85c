"""What the pages show, run as it is written there; what they name exists; their tables are those of the code."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

import tftrain
from tftrain.cli import arguments as command_arguments
from tftrain.cli import main
from tftrain.config import registry
from tftrain.config.schema import Config
from tftrain.reporting.tensorboard.descriptions import DESCRIPTIONS

ROOT = Path(__file__).parent.parent.parent


def load_script(name):
    path = ROOT / "scripts" / "documentation" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_script("generate_tables")
BUILDER = load_script("build_site")
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in GENERATOR.pages()
}
ALL_TEXT = "\n".join(PAGES.values())
# A file that a page shows has its name in the first line of its block.
NAMED_BLOCKS = re.findall(
    r"^```\w+\n# (\w+\.(?:py|yaml))\n(.*?)^```",
    ALL_TEXT,
    re.MULTILINE | re.DOTALL,
)
FILES = dict(NAMED_BLOCKS)
YAML_BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page, text in PAGES.items()
    for number, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL), 1
    )
]
COMMAND_LINES = sorted(
    {
        line.partition("#")[0].strip()
        for block in re.findall(
            r"^```sh\n(.*?)^```", ALL_TEXT, re.MULTILINE | re.DOTALL
        )
        for line in block.splitlines()
    }
)
COMPLETE = {
    "model": {"name": "mlp", "hidden": [8, 8]},
    "data": {"name": "iris", "validation": 0.2},
    "optimizer": "adam",
    "training": {"steps": 2},
}


def section(page, title):
    """The text below a heading, up to the next of the same level or above."""
    marks = re.search(rf"^(#+) {re.escape(title)}$", PAGES[page], re.MULTILINE)
    body = PAGES[page][marks.end() :]
    return re.split(
        rf"^#{{1,{len(marks[1])}}} ", body, maxsplit=1, flags=re.MULTILINE
    )[0]


def names_in_table(text):
    """The names in the first column of its tables; one row can have several."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the pages show, as the working directory."""
    for name, body in FILES.items():
        (tmp_path / name).write_text(body)
    (tmp_path / "FILE").write_text(yaml.safe_dump(COMPLETE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_tables_are_those_of_the_code():
    if not GENERATOR.is_keras_installed_as_documented():
        pytest.skip(
            f"the tables were made with Keras {GENERATOR.keras_version()}"
        )
    stale = [str(page.relative_to(ROOT)) for page in GENERATOR.stale_pages()]
    assert not stale, f"scripts/docs --update rewrites {', '.join(stale)}"


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 200


@pytest.mark.parametrize(
    "package",
    [path.parent.name for path in (ROOT / "tftrain").glob("*/__init__.py")],
)
def test_each_package_has_a_page_that_says_what_it_may_import(package):
    head = "\n".join(PAGES[f"tftrain/{package}/README.md"].splitlines()[:16])
    assert f"`tftrain/{package}`" in head
    assert "**May import:**" in head and "**Where you plug in:**" in head


def test_no_two_files_shown_have_one_name():
    names = [name for name, _ in NAMED_BLOCKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("block", YAML_BLOCKS)
def test_each_config_shown_is_valid_and_has_no_former_names(
    desk, block, capsys
):
    values = yaml.safe_load(block)
    (desk / "complete.yaml").write_text(yaml.safe_dump(COMPLETE))
    if (
        "base" not in values
        and not {"model", "data", "optimizer"} <= values.keys()
    ):
        block = "base: complete.yaml\n" + block
    (desk / "shown.yaml").write_text(block)
    tftrain.load("shown.yaml")
    assert capsys.readouterr().err == ""


# Those that have a test of their own below are trained there.
TRAINED_BELOW = {"rates.yaml", "direction.yaml", "with_tftrain.yaml"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FILES
        if name.endswith(".yaml") and name not in TRAINED_BELOW
    ],
)
def test_each_config_shown_trains(desk, name):
    result = tftrain.train(tftrain.load(name))
    assert result.folder.parent == Path("runs")
    assert result.folder.name.startswith(f"{name.removesuffix('.yaml')}-")
    assert result.results["test"]["accuracy"] >= 0.8


@pytest.mark.parametrize("name, features", [("tiny", 13), ("snake", 4)])
def test_models_shown_are_read_back(desk, name, features):
    result = tftrain.train(tftrain.load(f"{name}.yaml", ["training.epochs=1"]))
    x = np.random.default_rng(0).normal(size=(4, features)).astype("float32")
    np.testing.assert_array_equal(
        tftrain.load_model(result.folder)(x), result.model(x)
    )


def test_model_fit_and_tftrain_come_to_the_same(desk):
    with_fit = runpy.run_path("with_fit.py")
    with_tftrain = runpy.run_path("with_tftrain.py")
    assert with_fit["accuracy"] >= 0.95
    assert with_tftrain["accuracy"] == pytest.approx(
        with_fit["accuracy"], abs=0.03
    )


def test_the_rates_shown(desk):
    result = tftrain.train(tftrain.load("rates.yaml"))
    rates = result.history["learning_rate"].values
    assert rates.max() == pytest.approx(0.01) and rates[0] < 0.01
    assert result.results["validation"]["accuracy"] >= 0.8


def test_the_optimizer_shown_bounds_the_update(desk):
    def largest_update(*flags):
        config = tftrain.load("bounded.yaml", ["training.epochs=3", *flags])
        history = tftrain.train(config).history
        name = "000.hidden_1/kernel"
        norms = history[f"weight_norm/{name}"].values
        ratios = history[f"update_ratio/{name}"].values
        assert len(norms) > 1
        return (norms * ratios).max()

    assert largest_update() == pytest.approx(0.01, rel=1e-4)
    assert largest_update("optimizer=adam") > 0.02


def test_the_clip_shown(desk):
    result = tftrain.train(tftrain.load("sign.yaml", ["training.epochs=1"]))
    elements = 13 * 128 + 128 + 128 * 64 + 64 + 64 * 3 + 3
    norms = result.history["clipped_grad_norm"].values
    np.testing.assert_array_less(norms, 1e-3 * elements**0.5 * 1.001)


def test_the_probe_shown(desk):
    adam, plain = (
        tftrain.train(
            tftrain.load("direction.yaml", [*flags, "training.epochs=2"])
        )
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
        # An update is the difference of weights in float32.
        np.testing.assert_allclose(values, 1, rtol=1e-4)
        of_adam = adam.history[name].values
        assert (0.1 < of_adam).all() and (of_adam < 0.99).all()


def test_the_groups_shown_go_with_a_model(desk):
    (block,) = re.findall(
        r"^```yaml\n(optimizer:\n  name: adamw.*?)^```",
        PAGES["tftrain/optim/README.md"],
        re.MULTILINE | re.DOTALL,
    )
    rest = (
        "model: {name: mlp, hidden: [8, 8]}\ndata: iris\ntraining: {steps: 2}\n"
    )
    (desk / "groups.yaml").write_text(rest + block)
    names = tftrain.train(tftrain.load("groups.yaml")).history.keys()
    assert "grad_norm/001.hidden_2/kernel" in names
    assert not any("hidden_1" in name for name in names)


def test_the_mistakes_shown_are_reported_as_shown(desk, capsys):
    (block,) = re.findall(
        r"^\$ python -m tftrain --config wrong.yaml\n(.*?)^```",
        PAGES["tftrain/config/README.md"],
        re.MULTILINE | re.DOTALL,
    )
    (desk / "wrong.yaml").write_text(
        "model: {name: cnn, filtres: [32]}\n"
        "data: digits\n"
        "optimizer: {name: adam, learning_rate: -1}\n"
    )
    assert main(["--config", "wrong.yaml"]) == 2
    printed = capsys.readouterr().err.splitlines()
    for line, pattern in zip(printed, block.splitlines(), strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\.\.\.", ".*"), line)


def parser_of(command):
    """The parser of a command, by its name; that of training where there is none."""
    makers = [
        maker
        for name, maker in vars(command_arguments).items()
        if name.endswith("_parser") and callable(maker)
    ]
    parsers = {
        maker().prog.removeprefix("python -m tftrain").strip(): maker
        for maker in makers
    }
    return parsers[command]()


@pytest.mark.parametrize(
    "line",
    [line for line in COMMAND_LINES if line.startswith("python -m tftrain")],
)
def test_the_commands_shown_are_understood(desk, line):
    words = shlex.split(line.partition(">")[0])[3:]
    command = words[0] if words and not words[0].startswith("-") else ""
    flags = {word for word in words if word.startswith("--")}
    assert flags <= parser_of(command)._option_string_actions.keys()
    if "--config" in words:
        config = words[words.index("--config") + 1]
        assert (desk / config).exists() or (ROOT / config).exists()
    if command in ("list", "schema"):
        assert main(words) == 0


def test_the_overrides_shown_are_applied(desk, capsys):
    (line,) = (
        line
        for line in COMMAND_LINES
        if "--set" in line and "sweep" not in line and "--config FILE" in line
    )
    assert main([*shlex.split(line)[3:], "--print-config"]) == 0
    assert "learning_rate: 0.0003" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [line for line in COMMAND_LINES if line.startswith("scripts/")]
)
def test_the_scripts_shown_exist(line):
    program, *words = shlex.split(line)
    assert os.access(ROOT / program, os.X_OK)
    for config in (word for word in words if word.endswith(".yaml")):
        assert (ROOT / config).exists()


def test_every_script_named_exists():
    for name in set(re.findall(r"`(scripts/[\w/]+)", ALL_TEXT)):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "kind, page, title",
    [
        ("clip", "tftrain/optim/README.md", "Clipping"),
        ("method", "tftrain/optim/README.md", "Gradient methods"),
        ("picture", "tftrain/reporting/README.md", "Plots"),
        ("model", "tftrain/models/README.md", "Models"),
    ],
)
def test_every_component_is_in_its_table(kind, page, title):
    listed = names_in_table(section(page, title))
    assert listed == set(registry.names_of_kind(kind))


def test_every_schedule_of_ours_is_in_its_table():
    listed = names_in_table(
        section("tftrain/optim/README.md", "Learning rates")
    )
    assert listed == set(registry.COMPONENT_KINDS["schedule"].own)


def test_every_data_set_is_named():
    named = re.findall(
        r"`(\w+)`", section("tftrain/data/README.md", "Data sets")
    )
    assert set(registry.names_of_kind("data")) <= set(named)


def test_every_preprocessing_step_is_named():
    named = re.findall(
        r"`(\w+)`", section("tftrain/data/README.md", "Preprocessing")
    )
    assert set(registry.names_of_kind("preprocess")) <= set(named)


@pytest.mark.parametrize(
    "page", [name for name in PAGES if "CHANGELOG" not in name]
)
def test_every_key_named_exists(page):
    config = tftrain.load(ROOT / "configs" / "xor.yaml")
    for name, key in re.findall(r"`(\w+)\.(\w+)\b(?=[:`. ])", PAGES[page]):
        settings = getattr(config, name, None)
        if name in ("data", "gradients", "training", "log", "checkpoint"):
            known = {*type(settings).__dataclass_fields__, "name"}
            assert key in known, f"{page}: {name}.{key}"
    assert {"model", "loss", "metrics"} <= Config.__dataclass_fields__.keys()


def test_every_config_that_ships_is_in_the_examples():
    listed = re.findall(
        r"^\| \[`(\w+\.yaml)`\]\(\1\)", PAGES["configs/README.md"], re.MULTILINE
    )
    shipped = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))
    assert sorted(listed) == shipped


def test_every_dotted_name_exists():
    for name in set(re.findall(r"`(tftrain(?:\.\w+)+)`", ALL_TEXT)):
        module, _, attribute = name.rpartition(".")
        found = hasattr(importlib.import_module(module), attribute)
        assert found or importlib.util.find_spec(name), name


@pytest.mark.parametrize(
    "page", [name for name in PAGES if "CHANGELOG" not in name]
)
def test_every_file_named_exists(page):
    folders = [(ROOT / page).parent, ROOT / "tftrain", ROOT]
    without_links = re.sub(r"\[`[^]]*\]\([^)]*\)", "", PAGES[page])
    for name in set(re.findall(r"`((?:\w+/)*\w+\.py)`", without_links)):
        assert name in FILES or any(
            (folder / name).exists() for folder in folders
        ), name


def test_tags_named_for_troubleshooting_are_written():
    text = PAGES["tftrain/diagnostics/troubleshooting.md"]
    tags = re.findall(r"`(Overview/\w+|\w+/\.\.\.)`", text)
    assert len(tags) > 5
    for tag in tags:
        assert tag.replace("...", "*") in DESCRIPTIONS, tag


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    without_code = re.sub(
        r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL
    )
    headings = re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")
        for head in headings
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    without_code = re.sub(
        r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL
    )
    folder = (ROOT / page).parent
    for target, anchor in re.findall(
        r"\]\(([^)#]*)(?:#([^)]*))?\)", without_code
    ):
        if target.startswith("https://"):
            continue
        file = (folder / target).resolve() if target else ROOT / page
        assert file.exists(), f"{target} in {page}"
        if anchor:
            text = file.read_text(encoding="utf-8")
            assert anchor in anchors(text), f"{target}#{anchor} in {page}"


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for target in re.findall(r"\]\(([^)#]+\.md)", PAGES[page]):
            path = os.path.normpath((Path(page).parent / target).as_posix())
            if path not in reached and path not in waiting:
                waiting.append(path)
    assert reached == set(PAGES)


def test_the_site_has_every_page():
    assert {page.as_posix() for page in BUILDER.page_files()} == set(PAGES)
    settings = (ROOT / "scripts" / "documentation" / "site.yml").read_text()
    navigation = re.findall(r"[\w/]+\.md", settings)
    assert sorted(navigation) == sorted(PAGES)


def test_links_to_modules_become_links_to_the_reference(tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDER, "STAGE", tmp_path)
    text = BUILDER.staged(Path("tftrain/optim/README.md"))
    assert "[`clipping.py`](../../api/tftrain/optim/clipping.md)" in text
    assert "[`gradients/`](../../api/tftrain/optim/gradients/index.md)" in text
    assert "[write your own](../core/README.md)" in text
    assert [file.name for file in tmp_path.rglob("*.*")] == [
        "gradient_methods.png"
    ]


@pytest.mark.long
def test_the_site_is_built_without_a_warning():
    if not (ROOT / "build" / "docs-venv" / "requirements.txt").exists():
        pytest.skip("scripts/docs has not installed its tools")
    subprocess.run([ROOT / "scripts" / "docs"], check=True)
    assert (ROOT / "build" / "site" / "index.html").exists()
