"""A sweep: its runs, its table, and TensorBoard's HParams page."""

from __future__ import annotations

import json
import re

import pytest
from tensorboard.backend.event_processing.data_provider import (
    MultiplexerDataProvider,
)
from tensorboard.backend.event_processing.plugin_event_multiplexer import (
    EventMultiplexer,
)
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    list_session_groups,
)

from tftrain.cli import main

TEXT = """
model: {name: mlp, hidden: [8]}
data: {name: iris, validation: 0.2, preprocess: standardize}
optimizer: {name: sgd, learning_rate: 0.1}
gradients: {clip: {name: global_norm, limit: 1.0}}
training: {steps: 6}
log: {histograms_every: never, graph: false}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Limits, no limit, and a rate at which all is infinite at once; the status, what was printed, the folder."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "run.yaml").write_text(TEXT)
    words = [
        "--set",
        "gradients.clip.limit=0.001,none",
        "--set",
        "optimizer.learning_rate=0.1,1e38",
    ]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("sys.stdout", _Kept(printed))
        status = main(
            [
                "sweep",
                "--config",
                str(folder / "run.yaml"),
                *words,
                "--runs-dir",
                str(folder / "all"),
            ]
        )
    return status, "".join(printed), folder / "all"


class _Kept:
    encoding = "utf-8"

    def __init__(self, printed):
        self.write, self.flush, self.isatty = (
            printed.append,
            lambda: None,
            lambda: False,
        )


NAMES = ["0-limit-0.001-learning_rate-0.1", "1-limit-0.001-learning_rate-1e38"]
NAMES += ["2-limit-none-learning_rate-0.1", "3-limit-none-learning_rate-1e38"]


def test_every_run_has_its_folder_and_the_table_its_row(swept):
    status, printed, folder = swept
    assert (
        status == 1 and sorted(path.name for path in folder.iterdir()) == NAMES
    )
    assert "run 2 of 4: limit=0.001 learning_rate=1e38" in printed
    head, _, *rows = (
        printed.rpartition("run 4 of 4")[2]
        .split("\nlimit", 1)[1]
        .split("\n\n")[0]
        .splitlines()
    )
    assert head.split() == [
        "learning_rate",
        "validation",
        "loss",
        "validation",
        "accuracy",
        "seconds",
        "run",
    ]
    assert rows[0].split()[-1] == "2-limit-none-learning_rate-0.1", (
        "the best comes first, and its name is whole"
    )
    assert [re.search("done|failed", row)[0] for row in rows] == [
        "done",
        "done",
        "failed",
        "failed",
    ]
    assert printed.rstrip().endswith(f"tensorboard --logdir {folder}")


def test_tensorboard_shows_settings_figures_and_how_runs_ended(swept):
    multiplexer = EventMultiplexer(
        tensor_size_guidance={"hparams": 0}
    ).AddRunsFromDirectory(str(swept[2]))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(swept[2]))
    context, request = (
        backend_context.Context(base_plugin.TBContext(data_provider=provider)),
        RequestContext(),
    )
    known = context.experiment_from_metadata(
        request, "", True, context.hparams_metadata(request, ""), []
    )
    kinds = {
        one.name: (one.type, len(one.domain_discrete.values))
        for one in known.hparam_infos
    }
    assert kinds["gradients.clip.limit"] == (api_pb2.DATA_TYPE_STRING, 2), (
        "none is no number"
    )
    assert kinds["optimizer.learning_rate"] == (api_pb2.DATA_TYPE_FLOAT64, 2)
    asked = api_pb2.ListSessionGroupsRequest(
        slice_size=9, allowed_statuses=[0, 1, 2, 3]
    )
    for one in known.metric_infos:
        asked.col_params.add(metric=one.name)
    groups = (
        list_session_groups.Handler(request, context, "", asked)
        .run()
        .session_groups
    )
    assert [group.name for group in groups] == NAMES
    done, failed = api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE
    assert [group.sessions[0].status for group in groups] == [
        done,
        failed,
        done,
        failed,
    ]
    assert groups[2].hparams["gradients.clip.limit"].string_value == "none"
    values = {
        (one.name.group, one.name.tag): one.value
        for one in groups[0].metric_values
    }
    results = json.loads((swept[2] / NAMES[0] / "results.json").read_text())
    for split in ("train", "validation"):
        for name in ("loss", "accuracy"):
            assert values["", f"results/{split}/{name}"] == pytest.approx(
                results[split][name], rel=1e-6
            )  # float32
    row = next(
        line for line in swept[1].splitlines() if line.endswith(f" {NAMES[0]}")
    )
    assert row.split()[2] == f"{results['validation']['loss']:.4g}"


def test_a_run_that_cannot_begin_is_a_row_and_the_others_go_on(
    tmp_path, capsys
):
    (tmp_path / "run.yaml").write_text(TEXT)
    words = [
        "--config",
        str(tmp_path / "run.yaml"),
        "--set",
        "data.batch_size=1000,20",
        "--set",
        "metrics=[]",
    ]
    assert main(["sweep", *words, "--runs-dir", str(tmp_path / "all")]) == 1
    told = capsys.readouterr().out
    assert "batch_size 1000 is more than the 120 examples" in told
    assert [path.name for path in (tmp_path / "all").iterdir()] == [
        "1-batch_size-20"
    ]


def test_mistakes_are_told_before_anything_runs(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(TEXT)
    words = [
        "sweep",
        "--config",
        str(tmp_path / "run.yaml"),
        "--runs-dir",
        str(tmp_path / "all"),
    ]
    assert main([*words, "--set", "training.seed=1,x"]) == 2
    assert (
        "--set training.seed=x: training.seed: given the text 'x'"
        in capsys.readouterr().err
    )
    (tmp_path / "all" / "1-seed-1").mkdir(parents=True)
    (tmp_path / "all" / "1-seed-1" / "file").touch()
    assert main([*words, "--set", "training.seed=0,1"]) == 2
    assert (
        "1-seed-1: not empty" in capsys.readouterr().err
        and len(list((tmp_path / "all").iterdir())) == 1
    )
