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
    string = str(text)
    if string.isprintable():
        return string
    return "".join(
        char if char.isprintable() or char in layout else _escape_char(char)
        for char in string
    )


def one_line(text: object) -> str:
    """Return the text as `printable` does, the middle of a long one left out."""
    line = printable(text)
    if len(line) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        return f"{line[:half]} ... {line[-half:]}"
    return line


def printable_lines(text: object) -> str:
    """Return the text as `printable` does, with its line ends and tabs."""
    return printable(text, _LAYOUT)


def say(
    text: object,
    end: str = "\n",
    stream: TextIO | None = None,
    flush: bool = False,
) -> None:
    """Print text that may contain what others wrote, with control characters escaped.

    Args:
        text: one or several lines.
        end: what is printed after it.
        stream: where to; standard output by default. Characters that its encoding lacks are escaped.
        flush: whether it is to be seen at once.
    """
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    encodable = printable_lines(text).encode(encoding, "backslashreplace")
    print(encodable.decode(encoding), end=end, file=stream, flush=flush)


def complain(text: object) -> None:
    """Print an error as `say` does, on standard error."""
    say(text, stream=sys.stderr)


def _escape_char(char: str) -> str:
    return char.encode("unicode_escape").decode()
