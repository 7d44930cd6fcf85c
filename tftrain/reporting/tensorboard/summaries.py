"""What is told once in an event file, beside its curves: texts, and what the other tabs of TensorBoard read."""

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
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, PLUGIN_NAME
from tensorboard.plugins.graph.metadata import PLUGIN_NAME_KERAS_MODEL

from tftrain.reporting.tensorboard.event_file import safe_tag


class SummaryValue(NamedTuple):
    """One value of a summary, as the bytes of its protocol buffers."""

    tag: str
    tensor: bytes
    metadata: bytes


def text_note(name: str, markdown: str) -> SummaryValue:
    return SummaryValue(safe_tag(name), strings([markdown.encode()]), TEXT)


def keras_note(model_json: str) -> SummaryValue:
    """The layers of a model, which TensorBoard draws beside the graph."""
    described = metadata(
        PLUGIN_NAME_KERAS_MODEL, DATA_CLASS_BLOB_SEQUENCE, b"1"
    )  # the version that is read
    return SummaryValue("keras", strings([model_json.encode()]), described)


def strings(values: Sequence[bytes]) -> bytes:
    """The TensorProto of strings, [values]."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(values))])
    return TensorProto(
        dtype=DT_STRING, tensor_shape=shape, string_val=values
    ).SerializeToString()


def metadata(plugin: str, data_class: int, content: bytes = b"") -> bytes:
    plugin_data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(
        plugin_data=plugin_data, data_class=data_class
    ).SerializeToString()


TEXT = metadata("text", DATA_CLASS_TENSOR)


_OVERVIEW = "Overview/"
_LOSS, _BEFORE, _AFTER, _LIMIT = (
    *(r"Overview/loss$", r"Overview/log10_grad_norm$"),
    *(r"Overview/log10_clipped_grad_norm$", r"Overview/log10_clip_limit"),
)


def custom_scalars_layout() -> SummaryValue:
    """The layout is the same for every run, so that several runs have it in common."""
    layout = Layout(
        category=[
            Category(title="Gradients", chart=_gradients()),
            Category(title="Loss", chart=_losses()),
        ]
    )
    return SummaryValue(
        CONFIG_SUMMARY_TAG,
        strings([layout.SerializeToString()]),
        metadata(PLUGIN_NAME, DATA_CLASS_TENSOR, b"\x08\x00"),
    )


def _gradients() -> list[Chart]:
    band = MarginChartContent.Series(
        value=f"{_OVERVIEW}p50_log10_absgrad",
        lower=f"{_OVERVIEW}p05_log10_absgrad",
        upper=f"{_OVERVIEW}p95_log10_absgrad",
    )
    return [
        _lines("gradient norms before clipping (log10)", r"log10_grad_norm/"),
        _lines("gradient norms after clipping (log10)", r"log10_clipped_grad_norm/"),
        Chart(
            title="5 %, 50 % and 95 % of |gradient| (log10)",
            margin=MarginChartContent(series=[band]),
        ),
        _lines(
            "norm before, after, limit of clipping (log10)", _BEFORE, _AFTER, _LIMIT
        ),
    ]


def _losses() -> list[Chart]:
    return [_lines("training and validation", _LOSS)]


def _lines(title: str, *patterns: str) -> Chart:
    return Chart(title=title, multiline=MultilineChartContent(tag=patterns))
