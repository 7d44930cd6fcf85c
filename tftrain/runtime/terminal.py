"""Text for a terminal, which must not take what a file holds for commands."""

from __future__ import annotations

import sys
from typing import TextIO

MAX_CHARACTERS = 2000  # of one message
_LAYOUT = "\n\t"


def printable(text: object, layout: str = "") -> str:
    """Return the text with control codes, invisible characters and bytes that are no text escaped, as `\\x1b`.

    Args:
        text: what to show, such as a path or a message.
        layout: control characters that stay as they are.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() or char in layout else _escape(char)
        for char in shown
    )


def one_line(text: object) -> str:
    """Return the text as `printable` does, the middle of a long one left out."""
    shown = printable(text)
    if len(shown) > MAX_CHARACTERS:
        return f"{shown[: MAX_CHARACTERS // 2]} ... {shown[-MAX_CHARACTERS // 2 :]}"
    return shown


def printable_lines(text: object) -> str:
    """Return the text as `printable` does, with its line ends and tabs."""
    return printable(text, _LAYOUT)


def say(
    text: object, end: str = "\n", stream: TextIO | None = None, flush: bool = False
) -> None:
    """Print lines that may hold what others wrote; what the stream's encoding lacks is escaped."""
    stream = stream or sys.stdout
    shown = printable_lines(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(
        shown.encode(encoding, "backslashreplace").decode(encoding),
        end=end,
        file=stream,
        flush=flush,
    )


def complain(text: object) -> None:
    """Print an error as `say` does, on standard error."""
    say(text, stream=sys.stderr)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()
