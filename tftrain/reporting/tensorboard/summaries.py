"""Values that are written once to an event file: texts, and what TensorBoard's other tabs read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_TENSOR,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MarginChartContent,
    MultilineChartContent,
)
from tensorboard.plugins.custom_scalar.metadata import (
    CONFIG_SUMMARY_TAG,
    PLUGIN_NAME,
)
from tensorboard.plugins.graph.metadata import PLUGIN_NAME_KERAS_MODEL

from tftrain.reporting.tensorboard.event_file import safe_tag

# The version of the Keras model data that TensorBoard reads.
_KERAS_VERSION = b"1"
# An empty CustomScalarPluginData of version 0.
_LAYOUT_VERSION = b"\x08\x00"
_LOSS = r"Overview/loss$"
_NORM_BEFORE = r"Overview/log10_grad_norm$"
_NORM_AFTER = r"Overview/log10_clipped_grad_norm$"
_LIMIT = r"Overview/log10_clip_limit"


class SummaryValue(NamedTuple):
    """One value of a summary.

    Attributes:
        tag: of the value.
        tensor: bytes of a TensorProto.
        metadata: bytes of a SummaryMetadata.
    """

    tag: str
    tensor: bytes
    metadata: bytes


def text_note(name: str, markdown: str) -> SummaryValue:
    """Return a text for TensorBoard's Text tab.

    Args:
        name: its tag, made safe.
        markdown: the text.
    """
    return SummaryValue(
        safe_tag(name), strings_tensor([markdown.encode()]), TEXT
    )


def keras_note(model_json: str) -> SummaryValue:
    """Return the layers of a model, which TensorBoard draws beside the graph."""
    metadata = value_metadata(
        PLUGIN_NAME_KERAS_MODEL, DATA_CLASS_BLOB_SEQUENCE, _KERAS_VERSION
    )
    return SummaryValue(
        "keras", strings_tensor([model_json.encode()]), metadata
    )


def strings_tensor(values: Sequence[bytes]) -> bytes:
    """Return the bytes of a TensorProto that holds strings, [values]."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(values))])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=values)
    return tensor.SerializeToString()


def value_metadata(plugin: str, data_class: int, content: bytes = b"") -> bytes:
    """Return the bytes of a SummaryMetadata.

    Args:
        plugin: name of the plugin that shows the value.
        data_class: a value of the enumeration DataClass.
        content: what the plugin reads.
    """
    plugin_data = SummaryMetadata.PluginData(
        plugin_name=plugin, content=content
    )
    metadata = SummaryMetadata(plugin_data=plugin_data, data_class=data_class)
    return metadata.SerializeToString()


TEXT = value_metadata("text", DATA_CLASS_TENSOR)


def custom_scalars_layout() -> SummaryValue:
    """Return the charts of the Custom Scalars tab, the same for every run."""
    percentiles = MarginChartContent.Series(
        value="Overview/p50_log10_absgrad",
        lower="Overview/p05_log10_absgrad",
        upper="Overview/p95_log10_absgrad",
    )
    gradient_charts = [
        _line_chart(
            "gradient norms before clipping (log10)", r"log10_grad_norm/"
        ),
        _line_chart(
            "gradient norms after clipping (log10)", r"log10_clipped_grad_norm/"
        ),
        Chart(
            title="5 %, 50 % and 95 % of |gradient| (log10)",
            margin=MarginChartContent(series=[percentiles]),
        ),
        _line_chart(
            "norm before, after, limit of clipping (log10)",
            _NORM_BEFORE,
            _NORM_AFTER,
            _LIMIT,
        ),
    ]
    loss_charts = [_line_chart("training and validation", _LOSS)]
    layout = Layout(
        category=[
            Category(title="Gradients", chart=gradient_charts),
            Category(title="Loss", chart=loss_charts),
        ]
    )
    return SummaryValue(
        CONFIG_SUMMARY_TAG,
        strings_tensor([layout.SerializeToString()]),
        value_metadata(PLUGIN_NAME, DATA_CLASS_TENSOR, _LAYOUT_VERSION),
    )


def _line_chart(title: str, *tag_patterns: str) -> Chart:
    return Chart(title=title, multiline=MultilineChartContent(tag=tag_patterns))
