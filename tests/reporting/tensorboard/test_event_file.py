import glob
import math

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT

from tftrain.reporting.tensorboard.descriptions import description_of
from tftrain.reporting.tensorboard.event_file import (
    EventFile,
    ScalarValues,
    float_tensors,
)

METADATA = SummaryMetadata(
    plugin_data=SummaryMetadata.PluginData(plugin_name="histograms"),
    data_class=DATA_CLASS_TENSOR,
)
LONG = "größe/" + "x" * 300  # its length takes two bytes


def proto_tensor(rows):
    shape = TensorShapeProto(
        dim=[TensorShapeProto.Dim(size=size) for size in rows.shape]
    )
    return TensorProto(
        dtype=DT_FLOAT,
        tensor_shape=shape,
        tensor_content=rows.astype("<f4").tobytes(),
    )


def written(folder):
    """Returns the events of a folder's only file, without the two that begin it."""
    [path] = glob.glob(str(folder / "events*"))
    return [
        Event.FromString(event)
        for event in event_file_loader.RawEventFileLoader(path).Load()
    ][2:]


@pytest.mark.parametrize("step", [0, 1, 127, 128, 2**31, 2**40])
def test_an_event_is_what_protobuf_would_make_of_it(tmp_path, step):
    numbers = np.array([0.5, math.inf, -0.0, 1e300, -1e-3])
    names = ["a", "b/c", "d", "e", LONG]
    tables = [
        np.arange(3 * rows, dtype=np.float64).reshape(rows, 3)
        for rows in (1, 2, 200)
    ]
    tags = ["h/one", "h/two", LONG + "h"]

    file = EventFile(tmp_path, start_step=0)
    for _ in range(2):
        with np.errstate(over="ignore"):
            values = ScalarValues(names).encode(numbers, np.full(5, True))
        tensors = zip(tags, float_tensors(tables), strict=True)
        values += b"".join(
            file.tensor(tag, tensor, METADATA.SerializeToString())
            for tag, tensor in tensors
        )
        file.write(step, values)
    file.close()

    scalars = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in zip(names, numbers, strict=True)
    ]
    for event, described in zip(written(tmp_path), (True, False), strict=True):
        histograms = [
            Summary.Value(tag=tag, tensor=proto_tensor(table))
            for tag, table in zip(tags, tables, strict=True)
        ]
        for value in histograms if described else []:
            value.metadata.MergeFrom(METADATA)
            value.metadata.summary_description = description_of(value.tag)
        expected = Event(
            wall_time=event.wall_time,
            step=step,
            summary=Summary(value=scalars + histograms),
        )
        assert event == expected
        assert event.wall_time > 1e9
        assert event.ByteSize() == expected.ByteSize()


def test_the_same_bytes_hold_other_numbers_and_can_do_without_some():
    values = ScalarValues(["a", LONG, "c"])
    for numbers, kept in (
        ([1, 2, 3], [1, 1, 1]),
        ([4, 5, math.nan], [1, 0, 1]),
        ([7, 8, 9], [0, 0, 0]),
    ):
        kept = np.array(kept, bool)
        found = Summary.FromString(
            values.encode(np.array(numbers, np.float64), kept)
        ).value
        expected = [
            pair
            for pair, keep in zip(
                zip(["a", LONG, "c"], numbers, strict=True), kept, strict=True
            )
            if keep
        ]
        assert [value.tag for value in found] == [tag for tag, _ in expected]
        np.testing.assert_array_equal(
            [value.simple_value for value in found],
            [number for _, number in expected],
        )


def test_nothing_to_write_is_no_event(tmp_path):
    file = EventFile(tmp_path, start_step=0)
    file.write(3, b"")
    file.close()
    assert written(tmp_path) == []


def test_no_event_is_lost_where_it_is_flushed(tmp_path):
    file = EventFile(tmp_path, start_step=0)
    file.write(1, ScalarValues(["a"]).encode(np.array([1.0]), np.array([True])))
    file.flush()
    assert [event.step for event in written(tmp_path)] == [1]
    file.close()
