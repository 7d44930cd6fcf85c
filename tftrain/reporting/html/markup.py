"""HTML as text in which nothing from outside is read as markup."""

from __future__ import annotations

import html

# Elements without an end tag.
_VOID_ELEMENTS = {"img", "meta", "wbr"}


class Markup(str):
    """Text that is markup; all other text is escaped when it becomes part of an element."""


def element(tag: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element: `element("td", 5, class_="best")` is `<td class="best">5</td>`.

    Args:
        tag: name of the element.
        content: what is inside; None is left out.
        attributes: a trailing underscore is dropped, others become hyphens; None is left out.
    """
    text = ""
    for name, value in attributes.items():
        if value is not None:
            text += f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
    if tag in _VOID_ELEMENTS:
        return Markup(f"<{tag}{text}>")
    return Markup(f"<{tag}{text}>{joined(*content)}</{tag}>")


def joined(*parts: object) -> Markup:
    """Return the parts one after the other, escaped where they are not markup."""
    texts = [
        part if isinstance(part, Markup) else escape(part)
        for part in parts
        if part is not None
    ]
    return Markup("".join(texts))


def escape(value: object) -> str:
    """Return the text of any value; bytes of a file name that are no text become `?`."""
    return html.escape(str(value).encode(errors="replace").decode())


def table(
    head: list[object], rows: list[list[object]], **attributes: object
) -> Markup:
    """Return a table whose first row and first column are headers.

    Args:
        head: the first row.
        rows: the others; a cell that is a `td` element stays as it is.
        attributes: of the table.
    """
    head_cells = [element("th", cell, scope="col") for cell in head]
    body_rows = []
    for first, *cells in rows:
        row_head = element("th", first, scope="row")
        body_rows.append(element("tr", row_head, *map(_cell, cells)))
    content = element(
        "table",
        element("thead", element("tr", *head_cells)),
        element("tbody", *body_rows),
        **attributes,
    )
    return element(
        "div", content, class_="wide", style=f"--columns:{len(head)}"
    )


def _cell(value: object) -> Markup:
    if isinstance(value, Markup) and value.startswith("<td"):
        return value
    return element("td", value)


def number(value: float, digits: int = 4) -> Markup:
    """Return a number in few digits, with all of them as its value and tooltip.

    Args:
        value: the number.
        digits: how many are shown.
    """
    text = f"{value:.{digits}g}".replace("nan", "NaN").replace(
        "inf", "infinite"
    )
    return element("data", text, value=repr(value), title=repr(value))
