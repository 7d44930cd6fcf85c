"""The forward and the backward pass through a model, and the model itself, as text of at most 100 columns."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tftrain.diagnostics.downstream import Downstream
    from tftrain.diagnostics.gradient_compare import GradientComparison
    from tftrain.diagnostics.layer_stats import (
        NormStats,
        TraceStats,
        ValueStats,
    )


WIDTH = 100
_NAME = 30


def forward_text(table: TraceStats) -> str:
    """Layer by layer from the input up: what each activation function got (z) and what each layer gave (a)."""
    text_table = columns(
        [
            "layer",
            "",
            "mean",
            "std",
            "min",
            "max",
            "zero",
            "dead",
            "sat.",
            "NaN, Inf",
        ],
        2,
    )
    for row in table.layers:
        if row.z is not None:
            text_table.add_row(
                shorten(row.name),
                "z",
                *_stats_cells(row.z),
                "",
                "",
                _nonfinite_cell(row.z),
            )
        name = row.name if row.z is None else f"  {row.function}"
        shares = [_format_share(row.dead), _format_share(row.saturated)]
        text_table.add_row(
            shorten(name),
            "a",
            *_stats_cells(row.a),
            *shares,
            _nonfinite_cell(row.a),
        )
    return (
        f"forward pass, loss {_format_number(table.loss)}\n{drawn(text_table)}"
    )


def backward_text(table: TraceStats) -> str:
    """Layer by layer from the output down: the error term delta of each layer, and the gradients of its parameters."""
    text_table = columns(
        ["layer", "|delta|", "max", "|weight|", "|grad|", "share", "NaN, Inf"],
        1,
    )
    owned = [
        (table.layer_of(parameter.name), parameter)
        for parameter in table.parameters
    ]
    for row in [*reversed(table.layers), None]:
        if row is not None:
            text_table.add_row(
                shorten(row.name),
                *_error_cells(row.delta),
                "",
                "",
                "",
                _nonfinite_cell(row.delta),
            )
        for owner, parameter in owned:
            if owner is row:
                name = (
                    parameter.name
                    if owner is None
                    else f"  {parameter.name.rpartition('/')[2]}"
                )
                norms = [
                    _format_number(parameter.weight.norm),
                    _format_number(parameter.grad.norm)
                    if parameter.grad
                    else "-",
                ]
                text_table.add_row(
                    shorten(name),
                    "",
                    "",
                    *norms,
                    _format_share(parameter.share),
                    _nonfinite_cell(parameter.grad),
                )
    return f"backward pass, gradient norm {_format_number(table.grad_norm)}\n{drawn(text_table)}"


def model_text(
    rows: Sequence[tuple[str, str, str, int, int]], headings: Sequence[str]
) -> str:
    """Return a table of a model's layers.

    Args:
        rows: name, class, output shape, parameters and those that are trained, of each layer.
        headings: of the columns.
    """
    text_table = columns(headings, 3)
    for name, kind, shape, count, trained in rows:
        text_table.add_row(
            shorten(name), kind, shape, f"{count:,}", f"{trained:,}"
        )
    return drawn(text_table)


def columns(names: Iterable[str], words: int) -> Table:
    """Return an empty table.

    Args:
        names: of the columns.
        words: how many of them are text, and begin at the left.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for place, name in enumerate(names):
        table.add_column(
            name, justify="left" if place < words else "right", no_wrap=True
        )
    return table


def drawn(table: Table, width: int = WIDTH) -> str:
    """Return a table as text.

    Args:
        table: of rich.
        width: columns of text.
    """
    text = io.StringIO()
    Console(
        file=text, width=width, no_color=True, highlight=False, markup=False
    ).print(table)
    return (
        "\n".join(
            line.rstrip()
            for line in text.getvalue().replace("─", "-").splitlines()
        )
        + "\n"
    )


def _stats_cells(stats: ValueStats) -> list[str]:
    return [
        *map(_format_number, (stats.mean, stats.std, stats.least, stats.most)),
        _format_share(stats.zeros),
    ]


def _error_cells(delta: NormStats | None) -> list[str]:
    return (
        ["-", "-"]
        if delta is None
        else [_format_number(delta.norm), _format_number(delta.most)]
    )


def _nonfinite_cell(numbers: ValueStats | NormStats | None) -> str:
    return (
        f"{numbers.nans}, {numbers.infs}"
        if numbers is not None and numbers.bad
        else ""
    )


def _format_number(value: float) -> str:
    return f"{value:.3g}"


def _format_share(value: float | None) -> str:
    return (
        ""
        if value is None or value != value
        else f"{value:.0%}"
        if value in (0, 1)
        else f"{value:.1%}"
    )


def shorten(name: str, max_length: int = _NAME) -> str:
    """Return a name without its middle where it is too long: its end says more than its start.

    Args:
        name: of a layer or parameter.
        max_length: characters.
    """
    return (
        name
        if len(name) <= max_length
        else f"{name[:4]}..{name[-(max_length - 6) :]}"
    )


_COLUMNS = (
    "parameter",
    "numbers",
    "difference",
    "worst at",
    "reverse",
    "numeric",
    "kinks",
    "",
)
_UNCUT = 10_000  # columns
_SHORTEST = 16  # characters of a name, also where a line is then too long


def gradient_check_table(
    comparisons: Sequence[GradientComparison],
    suspects: Downstream | None,
    width: int | None,
) -> str:
    """Return a row for each parameter, and the result in words.

    `suspects` are what stands behind the last layer that is wrong, as far as that is known.

    Args:
        comparisons: of each parameter.
        suspects: what is behind the last layer that is wrong, as far as known.
        width: columns of the terminal, which long names are cut for; None for a file.
    """
    longest = max(len(comparison.name) for comparison in comparisons)
    table = _comparison_table(comparisons, longest)
    over = max(map(len, table.splitlines())) - (width or _UNCUT)
    if over > 0:
        table = _comparison_table(comparisons, max(longest - over, _SHORTEST))
    lines = [
        textwrap.fill(line, min(width or WIDTH, WIDTH))
        for line in _summary_lines(comparisons, suspects)
    ]
    return "\n".join([table, *lines, ""])


def _comparison_table(
    comparisons: Sequence[GradientComparison], longest: int
) -> str:
    text_table = columns(_COLUMNS, 1)
    for comparison in comparisons:
        numbers = (
            f"{comparison.size:,}"
            if comparison.checked == comparison.size
            else f"{comparison.checked:,} of {comparison.size:,}"
        )
        values = ["-"] * 4
        if comparison.compared:
            place = "[" + ",".join(map(str, comparison.worst)) + "]"
            values = [
                f"{comparison.difference:.1e}",
                place,
                f"{comparison.reverse:.3g}",
                f"{comparison.numeric:.3g}",
            ]
        text_table.add_row(
            shorten(comparison.name, longest),
            numbers,
            *values,
            str(comparison.kinks or ""),
            _verdict_of(comparison),
        )
    return drawn(text_table, _UNCUT)


def _verdict_of(comparison: GradientComparison) -> str:
    if not comparison.agrees:
        return "WRONG"
    return (
        "not checked"
        if not comparison.compared
        else "0"
        if comparison.tiny
        else "agrees"
    )


def _summary_lines(
    comparisons: Sequence[GradientComparison], suspects: Downstream | None
) -> list[str]:
    wrong = [
        comparison.name for comparison in comparisons if not comparison.agrees
    ]
    unknown = [
        comparison.name for comparison in comparisons if not comparison.compared
    ]
    if wrong:
        lines = [
            f"{len(wrong)} of {len(comparisons)} gradients are wrong: {', '.join(wrong)}.",
            _describe_where(comparisons, suspects),
        ]
    elif len(unknown) == len(comparisons):
        lines = ["no gradient could be compared, so this says nothing of them."]
    else:
        of_compared = (
            f" of the {len(comparisons) - len(unknown)} that could be compared"
            if unknown
            else ""
        )
        lines = [
            f"no gradient is wrong{of_compared}; the difference is ||a - b|| / (||a|| + ||b||)."
        ]
    if unknown:
        lines.append(
            f"not checked, for all of their numbers that were looked at are near kinks: {', '.join(unknown)}."
        )
    if any(comparison.kinks for comparison in comparisons):
        lines.append(
            "kinks: numbers, left out, near one such as that of a ReLU, where the loss has another slope on each side "
            "and differences tell nothing."
        )
    if any(comparison.tiny for comparison in comparisons):
        lines.append(
            "0: both are smaller than the rounding errors of differences."
        )
    return lines


def _describe_where(
    comparisons: Sequence[GradientComparison], suspects: Downstream | None
) -> str:
    """An error arrives in all layers below the one that makes it."""
    if suspects is None:
        last = max(
            index
            for index, comparison in enumerate(comparisons)
            if not comparison.agrees
        )
        layer, between = _layer_name(comparisons[last]), []
        above = [
            _layer_name(comparison)
            for comparison in comparisons[last + 1 :]
            if _layer_name(comparison) != layer
        ][:1]
    else:
        layer, between, above = suspects
    where = (
        f"stands between it and {' and '.join(above)}"
        if above
        else "stands behind it"
    )
    named = f": {', '.join(between)}" if between else ""
    fault = f"the fault is there, or in what {where}{named} (or it computes in float32)."
    return f"the last layer where it is wrong is {layer}: {fault}"


def _layer_name(comparison: GradientComparison) -> str:
    return comparison.name.rpartition("/")[0]
