"""The charts of TensorBoard's Custom Scalars tab: many layers in one chart, and bands of percentiles."""

from __future__ import annotations

from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MarginChartContent,
    MultilineChartContent,
)
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, PLUGIN_NAME

from tftrain.reporting.tensorboard.summaries import Note, metadata, strings

_OVERVIEW = "Overview/"
_LOSS, _BEFORE, _AFTER, _LIMIT = (
    *(r"Overview/loss$", r"Overview/log10_grad_norm$"),
    *(r"Overview/log10_clipped_grad_norm$", r"Overview/log10_clip_limit"),
)


def charts_note() -> Note:
    """The layout is the same for every run, so that several runs have it in common."""
    layout = Layout(category=[Category(title="Gradients", chart=_gradients()), Category(title="Loss", chart=_losses())])
    return Note(
        CONFIG_SUMMARY_TAG, strings([layout.SerializeToString()]), metadata(PLUGIN_NAME, DATA_CLASS_TENSOR, b"\x08\x00")
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
        Chart(title="5 %, 50 % and 95 % of |gradient| (log10)", margin=MarginChartContent(series=[band])),
        _lines("norm before, after, limit of clipping (log10)", _BEFORE, _AFTER, _LIMIT),
    ]


def _losses() -> list[Chart]:
    return [_lines("training and validation", _LOSS)]


def _lines(title: str, *patterns: str) -> Chart:
    return Chart(title=title, multiline=MultilineChartContent(tag=patterns))
