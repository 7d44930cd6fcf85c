"""What is declared about the package: its requirements, and the versions they are pinned to on each Python."""

from __future__ import annotations

import ast
import configparser
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import tftrain

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def written(text: str) -> list[str]:
    return [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]


REQUIRED = [
    Requirement(line) for line in written(SETUP["options"]["install_requires"])
]
EXTRAS = {
    name: [Requirement(line) for line in written(text)]
    for name, text in SETUP["options.extras_require"].items()
}
CONSTRAINTS = written(
    (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8")
)


def pins(python: str) -> dict[str, str]:
    """Name -> version of what is pinned on Linux with that Python."""
    machine = {
        "python_full_version": f"{python}.5",
        "python_version": python,
        "sys_platform": "linux",
    }
    machine |= {
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "extra": "",
    }
    found = [Requirement(line) for line in CONSTRAINTS]
    found = [
        pin
        for pin in found
        if pin.marker is None or pin.marker.evaluate(machine)
    ]
    names = [canonicalize_name(pin.name) for pin in found]
    assert sorted(names) == sorted(set(names)), "a package is pinned twice"
    return {
        name: str(pin.specifier).removeprefix("==")
        for name, pin in zip(names, found, strict=True)
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_to_a_version_it_allows(python):
    pinned = pins(python)
    tools = [Requirement("setuptools>=77"), Requirement("virtualenv")]
    for requirement in [*REQUIRED, *EXTRAS["gpu"], *EXTRAS["test"], *tools]:
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, (
            f"{requirement} is not pinned on Python {python}"
        )
        assert requirement.specifier.contains(version), (
            f"{requirement} is pinned to {version} on Python {python}"
        )


def test_constraints_are_exact_versions_and_nothing_else():
    for line in CONSTRAINTS:
        pin = Requirement(line)
        assert [part.operator for part in pin.specifier] == ["=="], line
        assert pin.url is None and not pin.extras, line


def test_the_pythons_are_those_of_the_scripts_and_the_classifiers():
    allowed = SpecifierSet(SETUP["options"]["python_requires"])
    assert [minor for minor in range(8, 20) if f"3.{minor}.1" in allowed] == [
        int(p.split(".")[1]) for p in PYTHONS
    ]
    assert {
        f"Programming Language :: Python :: {python}" for python in PYTHONS
    } < set(written(SETUP["metadata"]["classifiers"]))


def test_the_version_is_the_same_everywhere():
    assert tftrain.__version__ == SETUP["metadata"]["version"]


def test_the_console_script_exists():
    script = metadata.EntryPoint(
        *written(SETUP["options.entry_points"]["console_scripts"])[0].split(
            " = "
        ),
        "",
    )
    assert (script.name, callable(script.load())) == ("tftrain", True)


def test_the_plugin_of_tensorboard_exists():
    """TensorBoard loads every one it finds, and ends where one of them fails."""
    name, target = written(
        SETUP["options.entry_points"]["tensorboard_plugins"]
    )[0].split(" = ")
    assert metadata.EntryPoint(name, target, "").load().__name__ == "Loader"


def test_a_wheel_holds_every_file_of_the_package():
    patterns = {
        package: {pattern.strip() for pattern in text.split(",")}
        for package, text in SETUP["options.package_data"].items()
    }
    for file in (ROOT / "tftrain").rglob("*.*"):
        # Pages are for readers of the repository.
        if file.is_file() and file.suffix not in {".py", ".pyc", ".md"}:
            folders = [
                (ROOT / package.replace(".", "/"), globs)
                for package, globs in patterns.items()
            ]
            held = any(
                file.relative_to(one).match(glob)
                for one, globs in folders
                for glob in globs
                if one in file.parents
            )
            assert held, (
                f"{file.relative_to(ROOT)} is in no package_data of setup.cfg"
            )


def test_every_import_is_declared():
    """Nothing serves only because another package happens to bring it."""
    modules = {
        "pyyaml": "yaml",
        "scikit-learn": "sklearn",
        "tensorflow-datasets": "tensorflow_datasets",
    }
    declared = {
        modules.get(requirement.name, requirement.name)
        for requirement in REQUIRED
    } | {"tftrain"}
    for file in sorted((ROOT / "tftrain").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            names += (
                [node.module]
                if isinstance(node, ast.ImportFrom) and node.module
                else []
            )
            unknown = (
                {name.split(".")[0] for name in names}
                - declared
                - sys.stdlib_module_names
            )
            assert not unknown, (
                f"{file.relative_to(ROOT)}:{node.lineno} imports {unknown}, which setup.cfg lacks"
            )
