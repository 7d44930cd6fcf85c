"""What is told once in an event file, beside its curves: texts, and what the other tabs of TensorBoard read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, DATA_CLASS_TENSOR, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.graph.metadata import PLUGIN_NAME_KERAS_MODEL

from tftrain.reporting.tensorboard.event_file import safe_tag


class Note(NamedTuple):
    """One value of a summary, as the bytes of its protocol buffers."""

    tag: str
    tensor: bytes
    metadata: bytes


def text_note(name: str, markdown: str) -> Note:
    return Note(safe_tag(name), strings([markdown.encode()]), TEXT)


def keras_note(model_json: str) -> Note:
    """The layers of a model, which TensorBoard draws beside the graph."""
    described = metadata(PLUGIN_NAME_KERAS_MODEL, DATA_CLASS_BLOB_SEQUENCE, b"1")  # the version that is read
    return Note("keras", strings([model_json.encode()]), described)


def strings(values: Sequence[bytes]) -> bytes:
    """The TensorProto of strings, [values]."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(values))])
    return TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=values).SerializeToString()


def metadata(plugin: str, data_class: int, content: bytes = b"") -> bytes:
    plugin_data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=plugin_data, data_class=data_class).SerializeToString()


TEXT = metadata("text", DATA_CLASS_TENSOR)
