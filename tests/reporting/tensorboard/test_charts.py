import re

from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from tftrain.reporting.tensorboard.logger import tags
from tftrain.reporting.tensorboard.summaries import custom_scalars_layout

SCALARS = {
    name: 0.5
    for name in (
        "loss",
        "my_loss",
        "accuracy",
        "grad_norm",
        "grad_norm_max",
        "clipped_grad_norm",
    )
}
SCALARS |= {
    "absgrad_p05": 0.1,
    "absgrad_p50": 0.2,
    "absgrad_p95": 0.3,
    "clip/global_norm/limit": 1.0,
}
SCALARS |= {
    f"{kind}/{name}": 0.5
    for kind in ("grad_norm", "clipped_grad_norm")
    for name in ("000.a/kernel", "001.b/bias")
}


def test_each_chart_finds_its_tags_and_no_other():
    [written] = TensorProto.FromString(
        custom_scalars_layout().tensor
    ).string_val
    charts = [
        chart
        for category in Layout.FromString(written).category
        for chart in category.chart
    ]
    known = [*tags(SCALARS)[""]]
    found = [
        {
            tag
            for tag in known
            for pattern in chart.multiline.tag
            if re.match(pattern, tag)
        }  # as TensorBoard does
        for chart in charts
        if chart.HasField("multiline")
    ]
    assert found == [
        {"log10_grad_norm/000.a/kernel", "log10_grad_norm/001.b/bias"},
        {
            "log10_clipped_grad_norm/000.a/kernel",
            "log10_clipped_grad_norm/001.b/bias",
        },
        {
            f"Overview/log10_{name}"
            for name in ("grad_norm", "clipped_grad_norm", "clip_limit")
        },
        {"Overview/loss"},
    ]
    [band] = [series for chart in charts for series in chart.margin.series]
    assert {band.value, band.lower, band.upper} <= {*known}
