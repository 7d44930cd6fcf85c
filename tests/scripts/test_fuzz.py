"""scripts/fuzz in short: the mutations are what they say, a fault is seen, and some hundred configs have none."""

from __future__ import annotations

import collections
import importlib
import sys
from pathlib import Path

import pytest

import tftrain

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts" / "fuzzing"
GOOD = "model: mlp\ndata: iris\noptimizer: {name: adam, learning_rate: 0.1}\n"


@pytest.fixture
def fuzz(own_parts, monkeypatch):
    monkeypatch.chdir(own_parts)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "path", sys.path[:])
    return importlib.import_module("fuzz")


@pytest.fixture
def mutations(fuzz):
    return importlib.import_module("fuzz_mutations")


def test_some_hundred_mutations_have_no_fault(fuzz, mutations):
    gave, kinds = collections.Counter(), set()
    for _, number, case, found in fuzz.checked(400, 3, assemble=0):
        assert found.outcome in ("accepted", "refused"), (
            f"case {number} ({case.kind}): {found.words}"
        )
        gave[found.outcome] += 1
        kinds.add(case.kind)
    assert min(gave["accepted"], gave["refused"]) > 20 and kinds == set(
        mutations.KINDS
    )


def test_a_case_is_the_same_each_time(mutations):
    cases = [
        [mutations.mutant([GOOD], 5, number) for number in range(40)]
        for _ in range(2)
    ]
    assert cases[0] == cases[1] and len({case.data for case in cases[0]}) > 30


def test_unknown_and_doubled_keys_are_what_must_be_told(
    fuzz, mutations, tmp_path
):
    cases = [mutations.mutant([GOOD], 5, number) for number in range(200)]
    marked = [
        case for case in cases if case.kind in ("added", "renamed", "doubled")
    ]
    assert len(marked) > 20 and all(case.unknown for case in marked)
    assert {
        fuzz.read(case, tmp_path / "x.yaml").outcome for case in marked
    } == {"refused"}


@pytest.mark.parametrize(
    ("load", "outcome"),
    [
        (lambda path: 1 / 0, "traceback"),
        (lambda path: sys.exit(0), "traceback"),
        (lambda path: [None for _ in iter(int, 1)], "hang"),
        (lambda path: "accepted", "not told"),
    ],
)
def test_a_fault_is_seen(fuzz, mutations, monkeypatch, tmp_path, load, outcome):
    monkeypatch.setattr(tftrain, "load", load)
    case = mutations.Mutant("added", GOOD.encode(), "qwerty", True)
    assert (
        fuzz.guarded(
            lambda: fuzz.read(case, tmp_path / "x.yaml"), seconds=0.2
        ).outcome
        == outcome
    )


def test_a_problem_must_name_the_key_and_be_a_clear_line(
    fuzz, mutations, monkeypatch, tmp_path
):
    case = mutations.Mutant("added", GOOD.encode(), "qwerty", True)
    for message, outcome in (
        ("no", "not told"),
        ("no \x1b[31m", "traceback"),
        ("qwerty: unknown", "refused"),
    ):

        def load(path, message=message):
            raise tftrain.ConfigError([message])

        monkeypatch.setattr(tftrain, "load", load)
        assert fuzz.read(case, tmp_path / "x.yaml").outcome == outcome


def test_the_sizes_of_what_is_assembled(fuzz, desk):
    assert fuzz.is_small(desk.load(GOOD)) and not fuzz.is_small(
        desk.load(GOOD, "model.hidden=[4, 100000]")
    )


def test_a_case_can_be_shown_again(fuzz, capfdbinary):
    assert fuzz.main(["--seed", "2", "--show", "9"]) == 0
    assert capfdbinary.readouterr().out.strip()


def test_mutated_runs_and_odd_paths_have_no_fault(fuzz):
    runs = importlib.import_module("fuzz_runs")
    gave, kinds = collections.Counter(), set()
    for number, case, found in fuzz.checked_runs(25, 2):
        assert found.outcome in ("accepted", "refused"), (
            f"run {number}: {case}: {found.words}"
        )
        gave[found.outcome] += 1
        kinds.add(case.kind)
    assert min(gave["accepted"], gave["refused"]) > 3 and kinds == set(
        runs.KINDS
    )


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (lambda words: print("\x1b[31m") or 2, "unclear"),
        (lambda words: 1, "unclear"),
        (lambda words: 2, "unclear"),
        (lambda words: Path("outside/file").write_text("x") and 0, "led out"),
        (lambda words: Path("outside/new").mkdir() or 0, "led out"),
        (
            lambda words: (
                Path("out.html").write_text(Path("outside/file").read_text())
                and 0
            ),
            "led out",
        ),
        (lambda words: print("no") or sys.exit(2), "refused"),
        (lambda words: 0, "accepted"),
    ],
)
def test_what_a_run_may_lead_a_command_to_is_seen(
    fuzz, tmp_path, call, outcome
):
    runs = importlib.import_module("fuzz_runs")
    runs.make_desk(tmp_path / "desk")
    case = runs.mutate(tmp_path / "desk", 1, 1)
    assert runs.outcome(case, tmp_path / "desk", call)[0] == outcome
