import contextlib
import glob
import math
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard import context
from tensorboard.backend.event_processing import (
    data_ingester,
    data_provider,
    event_accumulator,
    event_file_loader,
    plugin_event_multiplexer,
)
from tensorboard.data import provider as base
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.descriptions import description_of
from tftrain.reporting.tensorboard.logger import (
    TensorBoardLogger,
    fenced_yaml,
    safe_tag,
    tags,
)
from tftrain.reporting.tensorboard.summaries import text_note

ROWS = np.array([[-3.0, -2.0, 4.0], [-2.0, -1.0, 12.0], [-1.0, 0.0, 1.0]])
CONTEXT = context.RequestContext()


def python_provider(logdir):
    multiplexer = plugin_event_multiplexer.EventMultiplexer(
        tensor_size_guidance=data_ingester.DEFAULT_TENSOR_SIZE_GUIDANCE
    )
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    return data_provider.MultiplexerDataProvider(multiplexer, str(logdir))


@contextlib.contextmanager
def rust_provider(logdir):
    """Starts TensorBoard's own data server, which is what reads the log unless it is missing on a platform."""
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=str(logdir),
        reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
    )
    ingester.start()
    runs = {path.parent for path in logdir.rglob("events*")}
    while len(
        ingester.data_provider.list_runs(CONTEXT, experiment_id="")
    ) < len(runs):
        time.sleep(0.01)
    yield ingester.data_provider
    ingester._stdin_handle.close()  # the server ends with it


@pytest.fixture(params=["python", "rust"])
def read(request):
    """Returns a function that reads a log folder as TensorBoard does, in each of its two server modes."""
    with contextlib.ExitStack() as stack:
        start = {
            "python": python_provider,
            "rust": lambda logdir: stack.enter_context(rust_provider(logdir)),
        }
        yield start[request.param]


def points(provider, run, tag):
    """Returns [(step, value)] of a scalar."""
    found = provider.read_scalars(
        CONTEXT,
        experiment_id="",
        plugin_name="scalars",
        downsample=1000,
        run_tag_filter=base.RunTagFilter(runs=[run], tags=[tag]),
    )
    return [(point.step, point.value) for point in found[run][tag]]


def tensors(provider, plugin, run, tag):
    found = provider.read_tensors(
        CONTEXT,
        experiment_id="",
        plugin_name=plugin,
        downsample=1000,
        run_tag_filter=base.RunTagFilter(runs=[run], tags=[tag]),
    )
    return [(point.step, point.numpy) for point in found[run][tag]]


def close_to(pairs):
    return [
        (step, pytest.approx(value, rel=1e-6, nan_ok=True))
        for step, value in pairs
    ]  # stored as float32


def test_tags_of_house_names():
    found = tags(
        {
            "loss": 0.5,
            "learning_rate": 0.1,
            "grad_norm": 100.0,
            "grad_norm_max": 1000.0,
            "clipped_grad_norm": 0.01,
            "clip/00.global_norm/limit": 10.0,
            "clip/00.global_norm/factor": 0.1,
            "clip/00.global_norm/norm_before": 100.0,
            "clip/00.global_norm/norm_after": 0.0,
            "grad_norm/000.dense/kernel": 0.1,
            "val_loss": 0.25,
            "my_metric": 3.0,
            "mine/part": 4.0,
        }
    )
    assert found == {
        "": {
            "Overview/loss": 0.5,
            "Overview/learning_rate": 0.1,
            "Overview/log10_grad_norm": 2.0,
            "Overview/log10_grad_norm_max": 3.0,
            "Overview/log10_clipped_grad_norm": -2.0,
            "Overview/log10_clip_limit": 1.0,
            "transforms/clip/00.global_norm/limit": 10.0,
            "transforms/clip/00.global_norm/factor": 0.1,
            "transforms/clip/00.global_norm/log10_norm_before": 2.0,
            "log10_grad_norm/000.dense/kernel": -1.0,
            "Overview/my_metric": 3.0,
            "mine/part": 4.0,
        },
        "val": {"Overview/loss": 0.25},
    }


def test_tags_tell_several_limits_apart():
    found = tags(
        {
            "clip/0.global_norm/limit": 10.0,
            "clip/1.percentile/limit": 100.0,
            "clip/2.value/limit": 1.0,
        }
    )
    assert found[""] == {
        "Overview/log10_clip_limit_0.global_norm": 1.0,
        "Overview/log10_clip_limit_1.percentile": 2.0,
        "transforms/clip/0.global_norm/limit": 10.0,
        "transforms/clip/1.percentile/limit": 100.0,
        "transforms/clip/2.value/limit": 1.0,
    }


def test_tags_of_what_is_measured_in_each_layer():
    found = tags(
        {
            "depth_ratio": 1e-4,
            "zero_grad_fraction": 0.25,
            "nonfinite_grads": 0.0,
            "zero_grads/000.a/kernel": 0.5,
            "grad_share/000.a/kernel": 1.0,
            "weight_norm/000.a/kernel": 100.0,
            "update_ratio/000.a/kernel": 0.01,
            "update_ratio/000.a/bias": 0.0,
            "activation_mean/000.a": 0.1,
            "activation_std/000.a": 0.2,
            "dead_units/000.a": 0.3,
            "zero_activations/000.a": 0.4,
            "saturated/001.b": 0.5,
        }
    )
    assert found[""] == {
        "Overview/depth_ratio_decades": -4.0,
        "zero_grads/all": 0.25,
        "nonfinite_grads/all": 0.0,
        "zero_grads/000.a/kernel": 0.5,
        "grad_share/000.a/kernel": 1.0,
        "weight_norm/000.a/kernel": 100.0,
        "log10_update_ratio/000.a/kernel": -2.0,
        "layer_mean/000.a": 0.1,
        "layer_std/000.a": 0.2,
        "layer_dead/000.a": 0.3,
        "layer_zeros/000.a": 0.4,
        "layer_saturated/001.b": 0.5,
    }
    groups = {tag.partition("/")[0] for tag in found[""]} - {"Overview"}
    assert (
        min(groups, key=str.lower) == "grad_share"
    )  # nothing stands before grad_hist, which is opened


def test_tags_leave_out_the_log_of_zero_and_keep_what_is_not_finite():
    found = tags(
        {
            "grad_norm/a": 0.0,
            "grad_norm/b": math.nan,
            "grad_norm": math.inf,
            "loss": 0.0,
        }
    )[""]
    assert set(found) == {
        "log10_grad_norm/b",
        "Overview/log10_grad_norm",
        "Overview/loss",
    }
    assert math.isnan(found["log10_grad_norm/b"])
    assert found["Overview/log10_grad_norm"] == math.inf


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("a b/c:0", "a_b/c_0"),
        ("//a//b/", "a/b"),
        ("größe/x", "größe/x"),
        ("a\n\udc80", "a__"),
        ("", "_"),
        ("/", "_"),
    ],
)
def test_safe_tag(name, tag):
    assert safe_tag(name) == tag


def test_values_steps_and_runs_come_back(tmp_path, read):
    board = TensorBoardLogger(
        tmp_path, notes=[text_note("config", fenced_yaml("model: mlp\n"))]
    )
    for step in range(5):
        board(
            step,
            LogData(
                {
                    "loss": 1.0 / (step + 1),
                    "grad_norm": 10.0**-step,
                    "nonfinite_grads": 0,
                }
            ),
        )
    board(4, LogData({"val_loss": 0.5, "val_accuracy": math.nan}))
    board.close()
    provider = read(tmp_path)
    assert points(provider, ".", "Overview/loss") == close_to(
        (step, 1.0 / (step + 1)) for step in range(5)
    )
    assert points(provider, ".", "Overview/log10_grad_norm") == close_to(
        (step, -step) for step in range(5)
    )
    assert points(provider, "val", "Overview/loss") == [(4, 0.5)]
    assert points(provider, "val", "Overview/accuracy") == close_to(
        [(4, math.nan)]
    )
    [(step, text)] = tensors(provider, "text", ".", "config")
    assert (step, text.tolist()) == (0, [b"```yaml\nmodel: mlp\n```\n"])


def test_descriptions_come_back(tmp_path, read):
    """Of a tag whose first points are not drawn too, for log10 of 0 is not."""
    board = TensorBoardLogger(tmp_path)
    for step, norm in enumerate([0.0, 0.0, 1.0, 2.0]):
        board(
            step,
            LogData(
                {
                    "loss": 1.0,
                    "grad_norm": norm,
                    "val_loss": 0.5,
                    "grad_norm/a": 1.0,
                }
            ),
        )
    board.close()
    provider = read(tmp_path)
    found = provider.list_scalars(
        CONTEXT, experiment_id="", plugin_name="scalars"
    )
    assert set(found["."]) == {
        "Overview/loss",
        "Overview/log10_grad_norm",
        "log10_grad_norm/a",
    }
    assert {
        tag: series.description
        for run in found.values()
        for tag, series in run.items()
    } == {tag: description_of(tag) for tag in found["."]}
    assert points(provider, ".", "Overview/log10_grad_norm") == close_to(
        [(2, 0.0), (3, math.log10(2))]
    )


def test_histograms_come_back(tmp_path, read):
    head, board = "grad_hist_log10", TensorBoardLogger(tmp_path)
    for step in (0, 7):
        rows = {
            "gradients/000.dense/kernel": ROWS + step,
            "gradients/001.dense/bias": ROWS[:0],
        }
        board(step, LogData(histograms=rows))
    board(
        9, LogData(histograms={"gradients/000.dense/kernel": ROWS * [1, 1, 0]})
    )
    board.close()
    provider = read(tmp_path)
    found = tensors(provider, "histograms", ".", f"{head}/000.dense/kernel")
    assert [step for step, _ in found] == [0, 7]
    np.testing.assert_array_equal(
        found[1][1], ROWS + 7
    )  # small whole numbers: exact in float32
    listed = provider.list_tensors(
        CONTEXT, experiment_id="", plugin_name="histograms"
    )
    assert list(listed["."]) == [f"{head}/000.dense/kernel"]


def test_each_kind_of_histogram_has_its_group(tmp_path):
    groups = {
        "gradients/000.a/kernel": "grad_hist_log10/000.a/kernel",
        "gradients_value/000.a/kernel": "grad_hist/000.a/kernel",
        "updates/000.a/kernel": "update_hist_log10/000.a/kernel",
        "updates_value/000.a/kernel": "update_hist/000.a/kernel",
        "weights/000.a/kernel": "weight_hist/000.a/kernel",
        "activations/000.a": "layer_hist/000.a",
        "mine/000.a": "mine/000.a",
    }
    board = TensorBoardLogger(tmp_path)
    board(1, LogData(histograms=dict.fromkeys(groups, ROWS)))
    board.close()
    found = (
        event_accumulator.EventAccumulator(str(tmp_path), {"tensors": 0})
        .Reload()
        .Tags()["tensors"]
    )
    assert set(found) == set(groups.values())


def test_images_and_texts_of_a_step_come_back(tmp_path):
    board = TensorBoardLogger(tmp_path)
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    board(
        3,
        LogData(
            images={"boundary": pixels}, texts={"diagnosis": "all is well"}
        ),
    )
    board.close()
    found = event_accumulator.EventAccumulator(
        str(tmp_path), {"tensors": 0}
    ).Reload()
    width, height, png = found.Tensors("Overview/boundary")[
        0
    ].tensor_proto.string_val
    assert (width, height) == (b"4", b"2")
    np.testing.assert_array_equal(tf.io.decode_png(png), pixels)
    assert found.Tensors("diagnosis")[0].tensor_proto.string_val == [
        b"all is well"
    ]


def test_the_graph_comes_back(tmp_path):
    graph = (
        tf.function(lambda x: x * x)
        .get_concrete_function(tf.TensorSpec([]))
        .graph.as_graph_def()
    )
    TensorBoardLogger(tmp_path, graph=graph).close()
    found = event_accumulator.EventAccumulator(str(tmp_path)).Reload().Graph()
    assert [node.name for node in found.node] == [
        node.name for node in graph.node
    ]


def test_a_second_session_leaves_one_clean_curve(tmp_path, read):
    first = TensorBoardLogger(tmp_path)
    for step in range(16):
        first(step, LogData({"loss": 1.0, "val_loss": 1.0, "old": 1.0}))
    first.close()
    second = TensorBoardLogger(
        tmp_path, start_step=10
    )  # killed after 15, and the last checkpoint was made at 10
    for step in range(11, 16):
        second(step, LogData({"loss": 2.0, "val_loss": 2.0}))
    second.close()
    expected = [(step, 1.0 if step <= 10 else 2.0) for step in range(16)]
    provider = read(tmp_path)
    assert points(provider, ".", "Overview/loss") == expected
    assert points(provider, "val", "Overview/loss") == expected


def test_one_event_a_step_and_metadata_once(tmp_path):
    board = TensorBoardLogger(tmp_path)
    for step in range(3):
        board(
            step,
            LogData(
                {"loss": 1.0, "accuracy": 0.5},
                {"gradients/000.dense/kernel": ROWS},
            ),
        )
    board.flush()
    [path] = glob.glob(str(tmp_path / "events*"))
    events = list(
        event_file_loader.RawEventFileLoader(path).Load()
    )  # read before close
    assert len(events) == 2 + 3
    parsed = [
        event_file_loader.event_pb2.Event.FromString(event) for event in events
    ]
    assert parsed[1].session_log.status == parsed[1].session_log.START
    described = [
        [value.HasField("metadata") for value in event.summary.value]
        for event in parsed[2:]
    ]
    assert described == [
        [True, True, True],
        [False, False, False],
        [False, False, False],
    ]
    board.close()


def test_wide_numbers_do_not_stop_a_run(tmp_path, read):
    board = TensorBoardLogger(tmp_path)
    board(
        np.int64(1), LogData({"loss": np.float64(1e300), "count": np.int64(3)})
    )
    board.close()
    assert points(read(tmp_path), ".", "Overview/loss") == [(1, math.inf)]
