import json
import math

import numpy as np
from tensorboard.backend.event_processing import event_accumulator

from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.logger import TensorBoardLogger
from tftrain.reporting.tensorboard.protocol import NONE, PLUGIN, TENSORS

NAMES = ("000.dense/kernel", "000.dense/bias", "001.a b/kernel")


def norms(raw, clipped):
    return {
        f"grad_norm/{name}": value
        for name, value in zip(NAMES, raw, strict=True)
    } | {
        f"clipped_grad_norm/{name}": value
        for name, value in zip(NAMES, clipped, strict=True)
    }


def read(folder):
    return event_accumulator.EventAccumulator(
        str(folder), {"tensors": 0}
    ).Reload()


def test_norms_at_every_point_and_the_rest_where_it_is_measured(tmp_path):
    board = TensorBoardLogger(tmp_path, sizes={NAMES[0]: 6, NAMES[2]: 4})
    board(
        1,
        LogData(
            norms([1.0, 0.0, math.nan], [0.5, 0.0, math.inf]) | {"loss": 1.0}
        ),
    )
    measured = {f"weight_norm/{NAMES[0]}": 2.0, f"zero_grads/{NAMES[2]}": 0.25}
    measured |= {
        "dead_units/000.relu": 0.5,
        "dead_units/001.a b": 1.0,
    }  # one follows its layer, one is within it
    measured |= {"saturated/000.tanh": 0.75}
    board(2, LogData(norms([3.0] * 3, [3.0] * 3) | measured))
    board(3, LogData({"val_loss": 1.0}))
    board.close()
    found = read(tmp_path)
    by_tag = {
        tag: [
            (
                event.step,
                np.frombuffer(event.tensor_proto.tensor_content, "<f4").reshape(
                    3, -1
                ),
            )
            for event in events
        ]
        for tag, events in ((tag, found.Tensors(tag)) for tag in TENSORS)
    }
    (first, at_first), (second, _) = by_tag["gradients/norms"]
    assert (first, second) == (1, 2)
    np.testing.assert_array_equal(
        at_first, [[1, 0.5], [0, 0], [math.nan, math.inf]]
    )
    [(step, rest)] = by_tag["gradients/measured"]
    assert step == 2
    kernel, bias, other = (
        [NONE, 2, NONE, 0.5, 0.75],
        [NONE, NONE, NONE, 0.5, 0.75],
        [NONE, NONE, 0.25, 1, NONE],
    )
    np.testing.assert_array_equal(rest, [kernel, bias, other])


def test_the_names_go_with_the_first_point(tmp_path):
    board = TensorBoardLogger(tmp_path, sizes={NAMES[0]: 6, NAMES[2]: 4})
    board(1, LogData(norms([1.0] * 3, [1.0] * 3)))
    board.close()
    metadata = read(tmp_path).SummaryMetadata("gradients/norms")
    assert metadata.plugin_data.plugin_name == PLUGIN
    assert json.loads(metadata.plugin_data.content) == {
        "version": 1,
        "parameters": ["000.dense/kernel", "000.dense/bias", "001.a_b/kernel"],
        "sizes": [6, None, 4],
        "quantities": ["grad_norm", "clipped_grad_norm"],
    }
