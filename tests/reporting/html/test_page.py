"""The report as a reader has it: the numbers in it are the run's, and nothing in it comes from elsewhere."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from tftrain.cli import main
from tftrain.reporting.html.page import bundle_script, render_page
from tftrain.reporting.html.run_record import read_runs
from tftrain.runtime.run_lock import hold_lock

HOSTILE = """<script>alert(1)</script>"'&<b>"""
VOID = {"img", "meta", "wbr"}
CLIP = "clip/global_norm/"


class Read(HTMLParser):
    """Owns what a page holds: elements (name, attributes) and tables as rows of texts; ends must fit beginnings."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.tables, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def row(self, name):
        [row] = [
            row[1:] for table in self.tables for row in table if row[0] == name
        ]
        return row


def records(count=10, clip=True, slope=0.1):
    for step in range(1, count + 1):
        norm = 4 * np.exp(-slope * step)
        record = {
            "step": step,
            "loss": norm / 2,
            "learning_rate": 0.01,
            "grad_norm": norm,
        }
        record |= {
            "clipped_grad_norm": min(norm, 2.0) if clip else norm,
            "grad_norm_max": norm,
        }
        record |= {"epoch": step / 10, "accuracy": 0.5}
        record |= {
            "grad_norm/000.a/kernel": norm,
            "grad_norm/001.b/kernel": norm,
        }
        if clip:
            after = min(norm, 2.0)
            record |= {
                CLIP + "norm_before": norm,
                CLIP + "norm_after": after,
                CLIP + "factor": after / norm,
            }
            record |= {CLIP + "rate": float(norm > 2), CLIP + "limit": 2.0}
        yield record


RESULTS = {
    "seconds": 12.5,
    "time": {"step": 7.5, "compiling": 2.5},
    "skipped": 0,
    "rewinds": 0,
    "train": {"loss": 0.123456789, "accuracy": 0.75},
    "test": {"loss": 0.25, "accuracy": 1 / 3},
}


def read(*folders):
    return Read(render_page(read_runs(folders)))


def test_the_numbers_are_those_of_the_run(tmp_path, write_run):
    folder = write_run(
        tmp_path / "one",
        list(records()),
        results=RESULTS,
        incidents=[(7, "it broke\n")],
    )
    found = read(folder)
    assert found.row("train") == ["0.1235", "0.75"] and found.row("test") == [
        "0.25",
        "0.3333",
    ]
    exact = [
        attributes["value"]
        for name, attributes in found.elements
        if name == "data"
    ]
    assert {"0.123456789", repr(1 / 3), "12.5"} <= set(exact)
    assert (
        found.row("steps") == ["10"]
        and found.row("compiling") == ["2.5 (25%)"]
        and found.row("all") == ["10"]
    )
    # Above the limit of 2 are the steps with 4 exp(-0.1 step) > 2, which are 6 of 10.
    assert found.row("share of steps clipped") == ["60.0%"] and found.row(
        "limit at the end"
    ) == ["2"]
    factors = [min(1, 0.5 * np.exp(0.1 * step)) for step in range(1, 11)]
    for share in (5, 50, 95):
        assert found.row(f"factor, {share}th percentile") == [
            f"{np.percentile(factors, share):.3g}"
        ]
    assert found.row("norm before, largest") == [f"{4 * np.exp(-0.1):.3g}"]
    assert "one: finished" in found.text and "step 7it broke" in found.text


def test_curves_and_gradients_are_in_the_page(tmp_path, write_run):
    found = read(
        write_run(tmp_path / "one", list(records(30)), results=RESULTS)
    )
    images = [
        attributes for name, attributes in found.elements if name == "img"
    ]
    assert [image["alt"].partition(":")[0] for image in images] == [
        "loss",
        "accuracy",
        "gradient norm",
        "learning_rate",
    ]
    assert "train from 1.81 to 0.0996, minimum 0.0996" in images[0]["alt"]
    norms = images[2]["alt"]
    assert "before clipping from" in norms and "after clipping from" in norms
    svgs = [
        base64.b64decode(image["src"].partition(",")[2]) for image in images
    ]
    assert all(svg.rstrip().endswith(b"</svg>") for svg in svgs)
    [drawn] = [
        one for _, one in found.elements if one.get("class") == "gradient-map"
    ]
    assert "2 layers over steps 1 to 30" in drawn["data-label"]
    assert json.loads(drawn["data-layers"]) == ["000.a", "001.b"]
    norms = np.frombuffer(base64.b64decode(drawn["data-norms"]), "<f4").reshape(
        2, 30
    )
    expected = [record["grad_norm/000.a/kernel"] for record in records(30)]
    np.testing.assert_allclose(norms, [expected, expected], rtol=1e-6)


def test_names_at_the_top_of_the_bundled_modules_are_unique():
    script = bundle_script()
    names = re.findall(
        r"^(?:async )?(?:const|function|class) (\w+)", script, re.MULTILINE
    )
    for group in re.findall(r"^const \[([^\]]+)\]", script, re.MULTILINE):
        names += group.split(", ")
    assert len(names) == len(set(names)) > 50
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


def test_runs_beside_each_other(tmp_path, write_run):
    other = RESULTS | {"test": {"loss": 0.125, "accuracy": 0.2}}
    config = "model: {name: mlp, hidden: [8, 8], dropout: 0.5}\ndata: iris\n"
    one = write_run(tmp_path / "one", list(records()), config, RESULTS)
    two = write_run(
        tmp_path / "two",
        list(records(5, clip=False)),
        config.replace("[8, 8], dropout: 0.5", "[16]"),
        other,
    )
    found = read(one, two)
    assert found.row("test loss") == ["0.25", "0.125"] and found.row(
        "test accuracy"
    ) == ["0.3333", "0.2"]
    best = [
        attributes
        for name, attributes in found.elements
        if name == "td" and attributes.get("class") == "best"
    ]
    assert len(best) == 2, "what both have in common is not marked"
    assert found.row("model.hidden") == ["[8, 8]", "[16]"] and found.row(
        "model.dropout"
    ) == ["0.5", "–"]
    assert not any(row[0] == "data" for table in found.tables for row in table)
    classes = [attributes.get("class") for _, attributes in found.elements]
    assert classes.count("gradient-map") == 2
    assert (
        "one: global_norm" in found.text
        and "two: global_norm" not in found.text
    )


def test_a_part_beside_a_bare_name_is_one_row_with_what_each_run_has(
    tmp_path, write_run
):
    config = "model: {{name: mlp, kernel_initializer: {}}}\n"
    kinds = [
        "glorot_uniform",
        "{name: variance_scaling, scale: 8.0}",
        "he_normal",
    ]
    runs = [
        write_run(tmp_path / f"run{at}", list(records(2)), config.format(one))
        for at, one in enumerate(kinds)
    ]
    found = read(*runs)
    assert found.row("model.kernel_initializer") == kinds
    assert [row[0] for row in found.tables[1][1:]] == [
        "model.kernel_initializer"
    ]


def test_damaged_files_are_passed_over_and_told(tmp_path, write_run):
    folder = write_run(
        tmp_path / "one",
        list(records(3)),
        results=RESULTS,
        incidents=[(2, "it broke")],
    )
    for wrong in (
        '{"train": [1]}',
        '{"steps": "abc"}',
        '{"test": {"loss": "low"}}',
    ):
        (folder / "results.json").write_text(wrong)
        assert "results.json is damaged" in read(folder).text
    (folder / "results.json").write_text('{"steps": 3')
    (folder / "incidents" / "abc").mkdir()
    (folder / "incidents" / "abc" / "incident.txt").write_text("odd")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(
            '{"step": "a", "wall_seconds": 1, "loss": 1}\n{"step": 4, "wall_seconds": 1, "loss": "abc"}\n[1]\n'
        )
    found = read(folder)
    assert (
        "results.json is damaged" in found.text
        and "it broke" in found.text
        and "odd" not in found.text
    )
    assert found.row("steps") == ["4"]


def test_a_run_whose_files_are_damaged_does_not_keep_the_others_from_being_told(
    tmp_path, write_run
):
    sound = write_run(tmp_path / "sound", list(records(3)), results=RESULTS)
    torn = write_run(
        tmp_path / "torn", list(records(3)), "model: {name\n", RESULTS
    )
    found = read(sound, torn)
    assert (
        "sound: finished;" not in found.text
        and "torn: finished; config.yaml cannot be read: 2:1: not" in found.text
    )
    assert found.row("steps") == ["3", "3"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "finished; metrics.jsonl is missing, so there are no curves"),
        (b"", "finished; metrics.jsonl holds no point, so there are no curves"),
        (
            b"\x00\xff\n\x80\n",
            "finished; 2 of the lines of metrics.jsonl cannot be read; metrics.jsonl holds no point",
        ),
        (
            slice(1),
            "finished; metrics.jsonl ends at step 1, and with it the curves",
        ),
    ],
)
def test_points_that_are_missing_are_told(tmp_path, write_run, written, told):
    folder = write_run(tmp_path / "one", list(records(3)), results=RESULTS)
    path = folder / "metrics.jsonl"
    if written is None:
        path.unlink()
    elif isinstance(written, bytes):
        path.write_bytes(written)
    else:
        path.write_text(
            "".join(path.read_text().splitlines(keepends=True)[written])
        )
    assert told in read(folder).text
    with hold_lock(folder):
        assert (
            "metrics.jsonl" not in read(folder).text.partition("Config")[0]
        ), "a run that goes on may be behind"


def test_a_run_that_skipped_updates_says_so(tmp_path, write_run):
    skipped = RESULTS | {"skipped": 3}
    assert (
        "finished, 3 of its 3 updates skipped"
        in read(
            write_run(tmp_path / "a", list(records(3)), results=skipped)
        ).text
    )


def test_a_run_that_has_not_ended_gives_what_there_is(tmp_path, write_run):
    going = write_run(tmp_path / "going", list(records(3)))
    assert "not finished: it was killed, or failed" in read(going).text
    with hold_lock(going):
        assert "still running" in read(going).text
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("model: mlp\n")
    found = read(tmp_path / "begun")
    assert "not finished: it has no point yet" in found.text and found.row(
        "steps"
    ) == ["0"]
    stopped = {
        "stopped": "the loss was not finite",
        "train": {"loss": float("nan")},
    }
    bad = [
        {
            "step": 1,
            "loss": np.nan,
            "grad_norm": np.inf,
            "learning_rate": 0.1,
            "grad_norm/0.a/kernel": np.inf,
        }
    ]
    failed = read(write_run(tmp_path / "failed", bad, results=stopped))
    assert (
        "stopped early: the loss was not finite" in failed.text
        and failed.row("train") == ["NaN"]
    )
    still = read(
        write_run(
            tmp_path / "still",
            [dict.fromkeys(next(records(1)), 0.0) | {"step": 1}],
        )
    )
    assert "exactly zero in 100.0%" in str(still.elements)
    assert read(going, tmp_path / "begun", tmp_path / "failed").row(
        "steps"
    ) == [
        "3",
        "0",
        "1",
    ]


def test_text_from_outside_is_never_markup(tmp_path, write_run):
    folder = tmp_path / HOSTILE.replace("/", "-")
    rows = [
        row
        | {
            f"grad_norm/{HOSTILE}/kernel": 1.0,
            f"clip/{HOSTILE}/norm_before": 1.0,
        }
        for row in records(3)
    ]
    rows = [
        row | {f"clip/{HOSTILE}/rate": 1.0, "val_" + HOSTILE: 1.0, HOSTILE: 2.0}
        for row in rows
    ]
    results = RESULTS | {
        "stopped": HOSTILE,
        "test": {HOSTILE: 1.0},
        "time": {HOSTILE: 1.0},
    }
    config = f"model: {HOSTILE!r}\ndata: iris\n".replace("\\'", "''")
    write_run(folder, rows, config, results, [(1, HOSTILE)])
    other = write_run(tmp_path / "other", list(records(3)), results=RESULTS)
    for folders in ([folder], [folder, other]):
        text = render_page(read_runs(folders))
        found = Read(text)
        assert [name for name, _ in found.elements].count("script") == 1
        assert (
            "alert(1)</script>" not in text
            and '<b>"' not in text
            and HOSTILE in found.text
        )


def test_nothing_comes_from_elsewhere(tmp_path, write_run):
    text = render_page(
        read_runs(
            [write_run(tmp_path / "one", list(records()), results=RESULTS)]
        )
    )
    plain = re.sub(r"(base64,|data-norms=\")[^\"]*", "", text)
    assert not re.search(r"https?:|//\w|@import|url\(", plain)
    for name, attributes in Read(text).elements:
        assert name != "link" and all(
            one.startswith("data:")
            for key, one in attributes.items()
            if key in ("src", "href")
        )
    [policy] = [
        one["content"] for _, one in Read(text).elements if "http-equiv" in one
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_long_run_of_many_layers_stays_small(tmp_path, write_run):
    rng = np.random.default_rng(0)
    rows = []
    for step in range(1, 1001):
        row = {
            name: float(rng.lognormal())
            for name in (
                "loss",
                "grad_norm",
                "clipped_grad_norm",
                "grad_norm_max",
            )
        }
        row |= {
            "epoch": 1.0,
            "accuracy": float(rng.random()),
            "val_loss": 1.0 + float(rng.random()),
        }
        row |= {
            f"grad_norm/{layer:03}.dense/kernel": float(rng.lognormal())
            for layer in range(60)
        }
        rows.append(
            {"step": 7 * step, "learning_rate": float(rng.random()), **row}
        )
    text = render_page(
        read_runs([write_run(tmp_path / "long", rows, results=RESULTS)])
    )
    assert 100_000 < len(text.encode()) < 600_000


def test_the_command(tmp_path, write_run, monkeypatch, capsys):
    write_run(tmp_path / "one", list(records()), results=RESULTS)
    write_run(tmp_path / "two", list(records()), results=RESULTS)
    monkeypatch.chdir(tmp_path)
    assert (
        main(["report", "one"]) == 0
        and capsys.readouterr().out == "one/report.html\n"
    )
    assert (
        main(["report", "one", "two"]) == 0
        and capsys.readouterr().out == "report.html\n"
    )
    assert main(["report", "one", "--out", "new/it.html"]) == 0
    assert (tmp_path / "new" / "it.html").read_bytes() == (
        tmp_path / "one" / "report.html"
    ).read_bytes()
    assert not list(tmp_path.rglob(".draft*"))
    assert main(["report", "one", "--out", "/proc/nowhere/it.html"]) == 1
    assert "/proc/nowhere/it.html cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "run folder nowhere: there is no such folder"),
        (
            ["."],
            "run folder .: holds no config.yaml and no metrics.jsonl, so it is no run; runs are within it: one",
        ),
        (["one", "./one"], "given the same run twice; expected each once"),
        (
            ["one", "--out", "it.pdf"],
            "python -m tftrain report: --out it.pdf: expected a name that ends in .html",
        ),
    ],
)
def test_what_cannot_be_told_of(
    tmp_path, write_run, monkeypatch, capsys, words, told
):
    write_run(tmp_path / "one", list(records(2)))
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["report", *words])
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr().err
    assert status == 2 and said.startswith(told) and said.count("\n") == 1
    assert not list(tmp_path.rglob("*.html"))


def test_it_answers_without_tensorflow(tmp_path, write_run):
    write_run(tmp_path / "one", list(records()), results=RESULTS)
    code = "import sys; from tftrain.cli import main; status = main(['report', sys.argv[1]])\n"
    code += "sys.exit(status or bool({'keras', 'tensorflow', 'tensorboard'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one")],
        stdout=subprocess.DEVNULL,
    )
    assert done.returncode == 0
