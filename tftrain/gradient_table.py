"""Gradients found in two ways, as text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tftrain.pass_tables import WIDTH, columns, drawn, short

if TYPE_CHECKING:
    from tftrain.gradients.compare import Compared

_COLUMNS = ("parameter", "numbers", "difference", "worst at", "reverse", "numeric", "kinks", "")


def text_of(found: Sequence[Compared]) -> str:
    """A row for each parameter, and in words what it comes to."""
    shown = columns(_COLUMNS, 1)
    for one in found:
        numbers = f"{one.size:,}" if one.checked == one.size else f"{one.checked:,} of {one.size:,}"
        values = [f"{value:.3g}" for value in (one.reverse, one.numeric)]
        place = "[" + ",".join(map(str, one.worst)) + "]"
        shown.add_row(
            short(one.name), numbers, f"{one.difference:.1e}", place, *values, str(one.kinks or ""), _verdict(one)
        )
    return f"{drawn(shown)}\n{_summary(found)}\n"


def _verdict(one: Compared) -> str:
    if not one.agrees:
        return "WRONG"
    return "-" if one.kinks == one.checked else "0" if one.tiny else "agrees"


def _summary(found: Sequence[Compared]) -> str:
    wrong = [one.name for one in found if not one.agrees]
    if wrong:
        said = [f"{len(wrong)} of {len(found)} gradients are wrong: {', '.join(wrong)}.", _where(found)]
    else:
        said = ["no gradient is wrong; the difference is ||a - b|| / (||a|| + ||b||)."]
    if any(one.kinks for one in found):
        said.append(
            "kinks: numbers, left out, near one such as that of a ReLU, where the loss has another slope on each side "
            "and differences tell nothing."
        )
    if any(one.tiny for one in found):
        said.append("0: both are smaller than the rounding errors of differences.")
    return "\n".join(textwrap.fill(line, WIDTH) for line in said)


def _where(found: Sequence[Compared]) -> str:
    """An error arrives in all layers below the one that makes it."""
    last = max(index for index, one in enumerate(found) if not one.agrees)
    layer = _layer(found[last])
    above = next((_layer(one) for one in found[last + 1 :] if _layer(one) != layer), None)
    between = f"or in what stands between it and {above}" if above else "or in what stands behind it"
    return f"the last layer where it is wrong is {layer}: the fault is there, {between} (or it computes in float32)."


def _layer(one: Compared) -> str:
    return one.name.rpartition("/")[0]
