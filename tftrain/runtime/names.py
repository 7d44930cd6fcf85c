"""Lists of names for messages, and the nearest existing name to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_NAMES = 12  # in one message
_MIN_SIMILARITY = 0.6  # of difflib


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint such as "; did you mean 'adam'?", empty where no name is near.

    Args:
        word: what was written; upper and lower case count as the same.
        known: the names that exist.
    """
    by_lower = {str(name).lower(): str(name) for name in known}
    lower = str(word).lower()
    matches = difflib.get_close_matches(lower, by_lower, 1, _MIN_SIMILARITY)
    return f"; did you mean '{by_lower[matches[0]]}'?" if matches else ""


def join_names(names: Iterable[str]) -> str:
    """Return names separated by commas, with the end of a long list left out."""
    names = list(names)
    if len(names) <= MAX_NAMES:
        return ", ".join(names)
    first = names[: MAX_NAMES - 2]
    return f"{', '.join(first)} and {len(names) - len(first)} more"


def one_of(names: Iterable[str]) -> str:
    """Return all names to choose from: "one of a, b", or the only one."""
    names = list(names)
    joined = ", ".join(names)
    return f"one of {joined}" if len(names) > 1 else joined


def with_article(noun: str) -> str:
    """Return the noun with its article: 'an optimizer', 'a data set'."""
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{article} {noun}"
