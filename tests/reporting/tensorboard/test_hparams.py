import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.hparams import (
    Outcome,
    RunHparams,
    SweepHparams,
    recording_hparams,
    write_hparams,
)
from tftrain.reporting.tensorboard.logger import TensorBoardLogger

SETTINGS = {
    "optimizer": "adam",
    "optimizer.learning_rate": 0.01,
    "data.shuffle": True,
    "data.batch_size": 32,
}
FIGURES = [
    "results/validation/loss",
    "results/train/loss",
    "Overview/log10_grad_norm",
]
LONE = RunHparams(
    SETTINGS, ["optimizer.learning_rate"], FIGURES, ["gradients.clip.limit"]
)


def read(folder, tag):
    found = plugin_event_accumulator.EventAccumulator(str(folder)).Reload()
    content = found.SummaryMetadata(tag).plugin_data.content
    kind = {
        "experiment": "experiment",
        "session_start_info": "session_start_info",
        "session_end_info": "session_end_info",
    }
    return getattr(
        metadata, f"parse_{kind[tag.rpartition('/')[2]]}_plugin_data"
    )(content)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "my-run"
    folder.mkdir()
    with recording_hparams(folder, LONE) as ended:
        board = TensorBoardLogger(folder)
        board(1, LogData({"loss": 1.0}))
        board(2, LogData({"loss": 0.5}))
        board.close()
        ended.succeeded, ended.results, ended.step = (
            True,
            {"train": {"loss": 0.4}, "validation": {"loss": 0.6}},
            2,
        )
    return folder


def test_settings_and_compared_scalars_come_back(folder):
    started = read(folder, metadata.SESSION_START_INFO_TAG)
    kinds = {"optimizer": "string_value", "data.shuffle": "bool_value"}
    told = {
        name: getattr(value, kinds.get(name, "number_value"))
        for name, value in started.hparams.items()
    }
    assert told == SETTINGS and started.group_name == "my-run"
    experiment = read(folder, metadata.EXPERIMENT_TAG)
    assert [info.name for info in experiment.hparam_infos] == [
        *SETTINGS,
        "gradients.clip.limit",
    ]
    assert [info.differs for info in experiment.hparam_infos] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert [
        (one.name.group, one.name.tag, one.display_name)
        for one in experiment.metric_infos
    ] == [
        ("", "results/validation/loss", "validation loss"),
        ("", "results/train/loss", "train loss"),
        ("", "Overview/log10_grad_norm", "log10_grad_norm"),
    ]


def test_the_figures_of_an_end_are_those_of_the_last_end_alone(folder):
    def figures():
        found = plugin_event_accumulator.EventAccumulator(str(folder)).Reload()
        tags = [
            tag for tag in found.Tags()["tensors"] if tag.startswith("results/")
        ]
        return {
            tag: [
                (event.step, event.tensor_proto.float_val[0])
                for event in found.Tensors(tag)
            ]
            for tag in tags
        }

    first = {
        "results/train/loss": [(2, pytest.approx(0.4))],
        "results/validation/loss": [(2, pytest.approx(0.6))],
    }
    assert figures() == first
    with (
        pytest.raises(KeyboardInterrupt),
        recording_hparams(folder, LONE),
    ):  # the run goes on, and has none until its end
        assert figures() == {}
        raise KeyboardInterrupt
    assert figures() == {}
    outcome = Outcome(True, {"train": {"loss": 0.25}}, 3)
    write_hparams(
        folder,
        SweepHparams({"limit": 0.1}, {}, ["results/train/loss"]),
        outcome,
        start_time=1.0,
    )
    assert figures() == {"results/train/loss": [(3, 0.25)]}


def test_no_run_with_other_numbers_is_out_of_the_domain(folder):
    domains = {
        info.name: info
        for info in read(folder, metadata.EXPERIMENT_TAG).hparam_infos
    }
    rates = domains["optimizer.learning_rate"].domain_interval
    assert rates.min_value < -1e300 and rates.max_value > 1e300
    assert [
        value.bool_value
        for value in domains["data.shuffle"].domain_discrete.values
    ] == [False, True]
    assert not domains["optimizer"].HasField("domain_discrete")


def test_the_last_outcome_counts_and_no_point_is_lost(folder):
    assert (
        read(folder, metadata.SESSION_END_INFO_TAG).status
        == api_pb2.STATUS_SUCCESS
    )
    with pytest.raises(OSError), recording_hparams(folder, LONE):
        raise OSError
    assert (
        read(folder, metadata.SESSION_END_INFO_TAG).status
        == api_pb2.STATUS_FAILURE
    )
    with pytest.raises(KeyboardInterrupt), recording_hparams(folder, LONE):
        raise KeyboardInterrupt
    with pytest.raises(
        KeyError
    ):  # it may go on, and TensorBoard keeps the first end that it reads
        read(folder, metadata.SESSION_END_INFO_TAG)
    with recording_hparams(folder, LONE) as ended:  # the run goes on
        with pytest.raises(KeyError):
            read(folder, metadata.SESSION_END_INFO_TAG)
        ended.succeeded = True
    assert (
        read(folder, metadata.SESSION_END_INFO_TAG).status
        == api_pb2.STATUS_SUCCESS
    )
    found = plugin_event_accumulator.EventAccumulator(str(folder)).Reload()
    assert [event.step for event in found.Tensors("Overview/loss")] == [1, 2]


def test_a_sweep_has_the_last_word(folder):
    write_hparams(
        folder,
        SweepHparams({"limit": 0.1}, {"limit": [0.1, 1.0]}, ["Overview/loss"]),
        Outcome(False),
        start_time=1.0,
    )
    assert [*read(folder, metadata.SESSION_START_INFO_TAG).hparams] == ["limit"]
    [info] = read(folder, metadata.EXPERIMENT_TAG).hparam_infos
    assert info.differs
    assert [value.number_value for value in info.domain_discrete.values] == [
        0.1,
        1.0,
    ]
    assert (
        read(folder, metadata.SESSION_END_INFO_TAG).status
        == api_pb2.STATUS_FAILURE
    )
