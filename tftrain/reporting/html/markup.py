"""HTML and SVG as text in which nothing from outside is taken for markup."""

from __future__ import annotations

import html

_VOID = {"img", "meta", "wbr"}  # elements without an end


class Markup(str):
    """Text that is markup already; all other text is escaped where it becomes part of any."""


def element(kind: str, /, *inside: object, **attributes: object) -> Markup:
    """`element("td", 5, class_="best")` is `<td class="best">5</td>`; attributes and contents of None are left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if kind in _VOID:
        return Markup(f"<{kind}{written}>")
    return Markup(f"<{kind}{written}>{joined(*inside)}</{kind}>")


def joined(*parts: object) -> Markup:
    """Parts one after the other."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else escaped(part)
            for part in parts
            if part is not None
        )
    )


def escaped(value: object) -> str:
    """The text of any value; bytes in the name of a file that are no text become `?`."""
    return html.escape(str(value).encode(errors="replace").decode())


def table(head: list[object], rows: list[list[object]], **attributes: object) -> Markup:
    """A table whose first row and first column are headers; a cell that is a `td` already stays as it is."""
    top = [element("th", one, scope="col") for one in head]
    body = [
        [element("th", first, scope="row"), *map(_cell, rest)] for first, *rest in rows
    ]
    content = [
        element("thead", element("tr", *top)),
        element("tbody", *(element("tr", *row) for row in body)),
    ]
    return element(
        "div",
        element("table", *content, **attributes),
        class_="wide",
        style=f"--columns:{len(head)}",
    )


def _cell(value: object) -> Markup:
    return (
        value
        if isinstance(value, Markup) and value.startswith("<td")
        else element("td", value)
    )


def number(value: float, digits: int = 4) -> Markup:
    """A number in few digits, with all of them for machines and for who points at it."""
    shown = f"{value:.{digits}g}".replace("nan", "NaN").replace("inf", "infinite")
    return element("data", shown, value=repr(value), title=repr(value))
