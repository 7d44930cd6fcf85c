"""Gradients found in two ways, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tftrain.diagnostics.tables import WIDTH, columns, drawn, short

if TYPE_CHECKING:
    from tftrain.diagnostics.downstream import Behind
    from tftrain.diagnostics.gradient_compare import Compared

_COLUMNS = ("parameter", "numbers", "difference", "worst at", "reverse", "numeric", "kinks", "")
_UNCUT = 10_000  # columns
_SHORTEST = 16  # characters of a name, also where a line is then too long


def text_of(found: Sequence[Compared], suspects: Behind | None, width: int | None) -> str:
    """A row for each parameter, and in words what it comes to; names are cut where a row would be wider than `width`.

    `suspects` are what stands behind the last layer that is wrong, as far as that is known.
    """
    longest = max(len(one.name) for one in found)
    table = _table(found, longest)
    over = max(map(len, table.splitlines())) - (width or _UNCUT)
    if over > 0:
        table = _table(found, max(longest - over, _SHORTEST))
    said = [textwrap.fill(line, min(width or WIDTH, WIDTH)) for line in _summary(found, suspects)]
    return "\n".join([table, *said, ""])


def _table(found: Sequence[Compared], longest: int) -> str:
    shown = columns(_COLUMNS, 1)
    for one in found:
        numbers = f"{one.size:,}" if one.checked == one.size else f"{one.checked:,} of {one.size:,}"
        values = ["-"] * 4
        if one.compared:
            place = "[" + ",".join(map(str, one.worst)) + "]"
            values = [f"{one.difference:.1e}", place, f"{one.reverse:.3g}", f"{one.numeric:.3g}"]
        shown.add_row(short(one.name, longest), numbers, *values, str(one.kinks or ""), _verdict(one))
    return drawn(shown, _UNCUT)


def _verdict(one: Compared) -> str:
    if not one.agrees:
        return "WRONG"
    return "not checked" if not one.compared else "0" if one.tiny else "agrees"


def _summary(found: Sequence[Compared], suspects: Behind | None) -> list[str]:
    wrong = [one.name for one in found if not one.agrees]
    unknown = [one.name for one in found if not one.compared]
    if wrong:
        said = [f"{len(wrong)} of {len(found)} gradients are wrong: {', '.join(wrong)}.", _where(found, suspects)]
    elif len(unknown) == len(found):
        said = ["no gradient could be compared, so this says nothing of them."]
    else:
        some = f" of the {len(found) - len(unknown)} that could be compared" if unknown else ""
        said = [f"no gradient is wrong{some}; the difference is ||a - b|| / (||a|| + ||b||)."]
    if unknown:
        said.append(f"not checked, for all of their numbers that were looked at are near kinks: {', '.join(unknown)}.")
    if any(one.kinks for one in found):
        said.append(
            "kinks: numbers, left out, near one such as that of a ReLU, where the loss has another slope on each side "
            "and differences tell nothing."
        )
    if any(one.tiny for one in found):
        said.append("0: both are smaller than the rounding errors of differences.")
    return said


def _where(found: Sequence[Compared], suspects: Behind | None) -> str:
    """An error arrives in all layers below the one that makes it."""
    if suspects is None:
        last = max(index for index, one in enumerate(found) if not one.agrees)
        layer, between = _layer(found[last]), []
        above = [_layer(one) for one in found[last + 1 :] if _layer(one) != layer][:1]
    else:
        layer, between, above = suspects
    where = f"stands between it and {' and '.join(above)}" if above else "stands behind it"
    named = f": {', '.join(between)}" if between else ""
    fault = f"the fault is there, or in what {where}{named} (or it computes in float32)."
    return f"the last layer where it is wrong is {layer}: {fault}"


def _layer(one: Compared) -> str:
    return one.name.rpartition("/")[0]
