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
        ["layer", "", "mean", "std", "min", "max", "zero", "dead", "sat.", "NaN, Inf"],
        2,
    )
    for row in table.layers:
        if row.z is not None:
            text_table.add_row(
                shorten(row.name), "z", *_spread(row.z), "", "", _bad(row.z)
            )
        name = row.name if row.z is None else f"  {row.function}"
        shares = [_share(row.dead), _share(row.saturated)]
        text_table.add_row(shorten(name), "a", *_spread(row.a), *shares, _bad(row.a))
    return f"forward pass, loss {_number(table.loss)}\n{drawn(text_table)}"


def backward_text(table: TraceStats) -> str:
    """Layer by layer from the output down: the error term delta of each layer, and the gradients of its parameters."""
    text_table = columns(
        ["layer", "|delta|", "max", "|weight|", "|grad|", "share", "NaN, Inf"], 1
    )
    owned = [
        (table.layer_of(parameter.name), parameter) for parameter in table.parameters
    ]
    for row in [*reversed(table.layers), None]:
        if row is not None:
            text_table.add_row(
                shorten(row.name), *_error(row.delta), "", "", "", _bad(row.delta)
            )
        for owner, parameter in owned:
            if owner is row:
                name = (
                    parameter.name
                    if owner is None
                    else f"  {parameter.name.rpartition('/')[2]}"
                )
                norms = [
                    _number(parameter.weight.norm),
                    _number(parameter.grad.norm) if parameter.grad else "-",
                ]
                text_table.add_row(
                    shorten(name),
                    "",
                    "",
                    *norms,
                    _share(parameter.share),
                    _bad(parameter.grad),
                )
    return (
        f"backward pass, gradient norm {_number(table.grad_norm)}\n{drawn(text_table)}"
    )


def model_text(
    rows: Sequence[tuple[str, str, str, int, int]], headings: Sequence[str]
) -> str:
    """The layers of a model: name, kind, output shape, parameters, those that are trained."""
    text_table = columns(headings, 3)
    for name, kind, shape, count, trained in rows:
        text_table.add_row(shorten(name), kind, shape, f"{count:,}", f"{trained:,}")
    return drawn(text_table)


def columns(names: Iterable[str], words: int) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False
    )
    for place, name in enumerate(names):
        table.add_column(
            name, justify="left" if place < words else "right", no_wrap=True
        )
    return table


def drawn(table: Table, width: int = WIDTH) -> str:
    text = io.StringIO()
    Console(file=text, width=width, no_color=True, highlight=False, markup=False).print(
        table
    )
    return (
        "\n".join(
            line.rstrip() for line in text.getvalue().replace("─", "-").splitlines()
        )
        + "\n"
    )


def _spread(stats: ValueStats) -> list[str]:
    return [
        *map(_number, (stats.mean, stats.std, stats.least, stats.most)),
        _share(stats.zeros),
    ]


def _error(delta: NormStats | None) -> list[str]:
    return ["-", "-"] if delta is None else [_number(delta.norm), _number(delta.most)]


def _bad(numbers: ValueStats | NormStats | None) -> str:
    return (
        f"{numbers.nans}, {numbers.infs}" if numbers is not None and numbers.bad else ""
    )


def _number(value: float) -> str:
    return f"{value:.3g}"


def _share(value: float | None) -> str:
    return (
        ""
        if value is None or value != value
        else f"{value:.0%}"
        if value in (0, 1)
        else f"{value:.1%}"
    )


def shorten(name: str, max_length: int = _NAME) -> str:
    """The end of a long name says more than its start, but for the number there."""
    return (
        name if len(name) <= max_length else f"{name[:4]}..{name[-(max_length - 6) :]}"
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
    """A row for each parameter, and in words what it comes to; names are cut where a row would be wider than `width`.

    `suspects` are what stands behind the last layer that is wrong, as far as that is known.
    """
    longest = max(len(comparison.name) for comparison in comparisons)
    table = _table(comparisons, longest)
    over = max(map(len, table.splitlines())) - (width or _UNCUT)
    if over > 0:
        table = _table(comparisons, max(longest - over, _SHORTEST))
    lines = [
        textwrap.fill(line, min(width or WIDTH, WIDTH))
        for line in _summary(comparisons, suspects)
    ]
    return "\n".join([table, *lines, ""])


def _table(comparisons: Sequence[GradientComparison], longest: int) -> str:
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
            _verdict(comparison),
        )
    return drawn(text_table, _UNCUT)


def _verdict(comparison: GradientComparison) -> str:
    if not comparison.agrees:
        return "WRONG"
    return (
        "not checked"
        if not comparison.compared
        else "0"
        if comparison.tiny
        else "agrees"
    )


def _summary(
    comparisons: Sequence[GradientComparison], suspects: Downstream | None
) -> list[str]:
    wrong = [comparison.name for comparison in comparisons if not comparison.agrees]
    unknown = [comparison.name for comparison in comparisons if not comparison.compared]
    if wrong:
        lines = [
            f"{len(wrong)} of {len(comparisons)} gradients are wrong: {', '.join(wrong)}.",
            _where(comparisons, suspects),
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
        lines.append("0: both are smaller than the rounding errors of differences.")
    return lines


def _where(
    comparisons: Sequence[GradientComparison], suspects: Downstream | None
) -> str:
    """An error arrives in all layers below the one that makes it."""
    if suspects is None:
        last = max(
            index
            for index, comparison in enumerate(comparisons)
            if not comparison.agrees
        )
        layer, between = _layer(comparisons[last]), []
        above = [
            _layer(comparison)
            for comparison in comparisons[last + 1 :]
            if _layer(comparison) != layer
        ][:1]
    else:
        layer, between, above = suspects
    where = (
        f"stands between it and {' and '.join(above)}" if above else "stands behind it"
    )
    named = f": {', '.join(between)}" if between else ""
    fault = (
        f"the fault is there, or in what {where}{named} (or it computes in float32)."
    )
    return f"the last layer where it is wrong is {layer}: {fault}"


def _layer(comparison: GradientComparison) -> str:
    return comparison.name.rpartition("/")[0]
