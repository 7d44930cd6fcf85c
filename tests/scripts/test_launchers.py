"""The scripts with a stand-in for Python, which writes down what it is asked and installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = (
    "scripts/train",
    "scripts/test",
    "scripts/benchmark",
    "scripts/fuzz",
    "scripts/docs",
    ".ci/run",
)

# What a developer's own environment must not decide, the switches of the stand-in among it.
UNSET = {
    "PYTHON",
    "VIRTUAL_ENV",
    "VERSION",
    "WITHOUT_ENSUREPIP",
    "SLOW",
    "OFFLINE",
    "HAS_TFTRAIN",
    "RUFF",
    "STATUS",
}

STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$JOURNAL"
case "$*" in
    -V) echo "Python ${VERSION:-3.11.7}" ;;
    *"import ensurepip"*) [[ -z ${WITHOUT_ENSUREPIP:-} ]] ;;
    "-m venv "* | "-m virtualenv "*) mkdir -p "${*: -1}/bin" && cp "$0" "${*: -1}/bin/python" ;;
    "-m pip "*) sleep "${SLOW:-0}"; [[ -z ${OFFLINE:-} ]] || { echo "ERROR: no network" >&2; exit 1; } ;;
    "-I - "*) [[ -n ${HAS_TFTRAIN:-} ]] ;;
    "-m ruff "*) exit "${RUFF:-0}" ;;
    "-m pytest "* | "-m tftrain"*) printf '%s\\n' "in $PWD" "$@"; exit "${STATUS:-0}" ;;
esac
"""


def write_program(place: Path, text: str) -> None:
    place.write_text(text)
    place.chmod(0o755)


class House:
    """A copy of the scripts in a folder of its own, and the journal of its stand-in for Python."""

    def __init__(self, folder: Path):
        self.root = folder / "a house"
        self.python, self.journal = folder / "python", folder / "journal"
        for name in (
            "setup.cfg",
            "pyproject.toml",
            *SCRIPTS,
            "scripts/environment.sh",
            "scripts/constraints.txt",
        ):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.root / name)
        (self.root / "tests").mkdir()
        self.tools = (
            folder / "tools"
        )  # the first place where a command is looked for
        self.tools.mkdir()
        for place in (self.python, self.tools / "python3"):
            write_program(place, STAND_IN)
        write_program(self.tools / "apt-get", "#!/usr/bin/env bash\nexit 1\n")
        self.stamp = self.root / ".venv" / "tftrain.stamp"

    def start(
        self, *command: str, cwd: Path | None = None, **changes: str
    ) -> subprocess.Popen:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in UNSET
        }
        path = f"{self.tools}:{os.environ['PATH']}"
        env = {
            **kept,
            "PATH": path,
            "JOURNAL": str(self.journal),
            "PYTHON": str(self.python),
            **changes,
        }
        program = [str(self.root / command[0]), *command[1:]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            program, cwd=cwd or self.root, env=env, text=True, **pipes
        )

    def call(
        self, *command: str, cwd: Path | None = None, **changes: str
    ) -> tuple[int, str, str]:
        """Exit status, standard output, standard error; the journal then holds this call only."""
        self.journal.write_text("")
        process = self.start(*command, cwd=cwd, **changes)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def asked(self, start: str) -> int:
        return sum(
            line.startswith(start)
            for line in self.journal.read_text().splitlines()
        )


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@pytest.fixture
def ready(house):
    assert house.call("scripts/train")[0] == 0
    return house


@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/environment.sh"])
def test_bash_can_read_it(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert os.access(ROOT / script, os.X_OK) == (script in SCRIPTS)


def test_first_call_installs_the_pinned_versions_and_says_so(house):
    status, _, err = house.call("scripts/train", "--help")
    assert status == 0
    assert "tftrain: making .venv with Python 3.11.7" in err
    assert "tftrain: installing TensorFlow" in err
    assert house.asked("-m venv") == 1
    pip = [
        line
        for line in house.journal.read_text().splitlines()
        if line.startswith("-m pip")
    ]
    assert all(
        f"--constraint {house.root}/scripts/constraints.txt" in line
        for line in pip
    )
    assert pip[-1].endswith("--editable .[test]")
    assert house.stamp.is_file()


def test_later_calls_do_nothing_of_the_kind(ready):
    status, _, err = ready.call("scripts/train", "--help")
    assert (status, err) == (0, "")
    assert ready.asked("-m pip") == ready.asked("-m venv") == 0


def test_a_call_from_elsewhere_keeps_folder_arguments_and_status(
    ready, tmp_path
):
    link = tmp_path / "link"
    link.symlink_to(ready.root / "scripts" / "train")
    status, out, _ = ready.call(
        str(link), "--config", "my file.yaml", "", cwd=tmp_path, STATUS="2"
    )
    assert status == 2
    assert out.splitlines() == [
        f"in {tmp_path}",
        "-m",
        "tftrain",
        "--config",
        "my file.yaml",
        "",
    ]


def test_the_benchmark_is_given_its_arguments(ready):
    assert ready.call("scripts/benchmark", "layers", "--quick")[0] == 0
    assert (
        ready.asked(
            f"{ready.root}/scripts/benchmarks/benchmark.py layers --quick"
        )
        == 1
    )


@pytest.mark.parametrize(
    "changed", ["setup.cfg", "pyproject.toml", "scripts/constraints.txt"]
)
def test_a_changed_requirement_is_installed_on_top(ready, changed):
    with (ready.root / changed).open("a") as file:
        file.write("# changed\n")
    assert "bringing .venv up to date" in ready.call("scripts/train")[2]
    assert (ready.asked("-m venv"), ready.asked("-m pip")) == (0, 2)
    assert ready.call("scripts/train")[2] == ""


def test_another_python_makes_it_anew(ready):
    assert (
        "making .venv with Python 3.13.0"
        in ready.call("scripts/train", VERSION="3.13.0")[2]
    )
    assert ready.asked("-m venv") == 1


def test_a_moved_repository_makes_it_anew(ready):
    ready.root = ready.root.rename(ready.root.with_name("elsewhere"))
    assert "making .venv" in ready.call("scripts/train")[2]


@pytest.mark.parametrize("when", ["first", "update"])
def test_an_installation_that_ended_early_is_made_anew(house, when):
    if when == "update":
        house.call("scripts/train")
        (house.root / "setup.cfg").write_text("[metadata]\n")
    status, out, err = house.call("scripts/train", OFFLINE="1")
    assert (status, out) == (1, "")
    assert "ERROR: no network" in err and "did not succeed" in err
    leftover = house.root / ".venv" / "half_a_package.py"
    leftover.write_text("")
    status, _, err = house.call("scripts/train")
    assert status == 0 and "making .venv" in err
    assert not leftover.exists()


def test_two_calls_at_once_install_once(house):
    first, second = (house.start("scripts/train", SLOW="0.3") for _ in range(2))
    errors = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    if shutil.which("flock"):
        assert house.asked("-m venv") == 1
        assert sum("waiting for it" in err for err in errors) == 1


def test_a_python_without_ensurepip_uses_virtualenv(house):
    status, _, err = house.call("scripts/train", WITHOUT_ENSUREPIP="1")
    assert status == 0 and "fetching virtualenv" in err
    assert (house.asked("-m venv"), house.asked("-m virtualenv")) == (0, 1)


@pytest.mark.parametrize("version", ["3.9.18", "3.14.0", "2.7.18"])
def test_a_python_out_of_range_is_refused(house, version):
    status, _, err = house.call("scripts/train", VERSION=version)
    assert status == 1
    assert f"needs Python 3.10 to 3.13: {house.python} is {version}" in err
    assert not (house.root / ".venv").exists()


def test_the_first_python_in_range_is_taken(house):
    for version, name in {
        "3.9.18": "python3",
        "3.12.1": "python3.12",
        "3.10.13": "python3.10",
    }.items():
        write_program(
            house.tools / name, STAND_IN.replace("${VERSION:-3.11.7}", version)
        )
    write_program(
        house.tools / "python3.13", "#!/usr/bin/env bash\nexit 127\n"
    )  # as a version manager's empty name
    assert (
        "making .venv with Python 3.12.1"
        in house.call("scripts/train", PYTHON="")[2]
    )


def test_an_active_environment_with_tftrain_is_used(house, tmp_path):
    (tmp_path / "active" / "bin").mkdir(parents=True)
    shutil.copy2(house.python, tmp_path / "active" / "bin" / "python")
    active = {"PYTHON": "", "VIRTUAL_ENV": str(tmp_path / "active")}
    assert house.call("scripts/train", HAS_TFTRAIN="1", **active)[2] == ""
    assert not (house.root / ".venv").exists()
    assert "making .venv" in house.call("scripts/train", **active)[2]


def test_an_environment_of_somebody_else_is_left_alone(house):
    (house.root / ".venv" / "bin").mkdir(parents=True)
    shutil.copy2(house.python, house.root / ".venv" / "bin" / "python")
    status, _, err = house.call("scripts/train")
    assert status == 1 and "was not made by these scripts" in err
    assert house.call("scripts/train", HAS_TFTRAIN="1")[0] == 0
    assert house.asked("-m pip") == 0


def given_to_pytest(
    house: House, *arguments: str, cwd: Path | None = None
) -> list[str]:
    out = house.call("scripts/test", *arguments, cwd=cwd)[1].splitlines()
    return out[out.index(str(house.root / "pyproject.toml")) + 1 :]


def test_what_pytest_is_given(ready):
    everything, two = (
        str(ready.root / "tests"),
        ["--numprocesses", "2", "--dist", "loadfile"],
    )
    short = ["-m", "not long"]
    assert given_to_pytest(ready) == [*short, *two, everything]
    assert given_to_pytest(ready, "--all", "-x") == [*two, "-x", everything]
    assert given_to_pytest(ready, "-k", "clip and norm") == [
        *short,
        *two,
        "-k",
        "clip and norm",
        everything,
    ]
    (ready.root / "tests" / "test_a.py").write_text("")
    assert given_to_pytest(ready, "tests/test_a.py::test_b") == [
        *short,
        "tests/test_a.py::test_b",
    ]
    assert given_to_pytest(ready, "test_a.py", cwd=ready.root / "tests") == [
        *short,
        "test_a.py",
    ]


@pytest.mark.parametrize(
    ("ruff", "tests", "status"),
    [("0", "0", 0), ("1", "0", 1), ("0", "5", 5), ("1", "3", 3)],
)
@pytest.mark.parametrize("script", ["scripts/test", ".ci/run"])
def test_style_and_tests_both_count(ready, script, ruff, tests, status):
    assert ready.call(script, RUFF=ruff, STATUS=tests)[0] == status
    assert ready.asked("-m pytest") == 1
