"""Lists of names in the words of a message, and the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 12  # of a list in one message


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as "; did you mean 'adam'?", empty where nothing is near."""
    by_lower = {str(name).lower(): str(name) for name in known}
    close = difflib.get_close_matches(str(word).lower(), by_lower, 1, 0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Names with commas between them, the end of a long list cut off."""
    shown = list(names)
    if len(shown) > MOST_NAMES:
        return f"{', '.join(shown[: MOST_NAMES - 2])} and {len(shown) - MOST_NAMES + 2} more"
    return ", ".join(shown)


def one_of(names: Iterable[str]) -> str:
    """All of the names to choose from."""
    shown = list(names)
    return f"one of {', '.join(shown)}" if len(shown) > 1 else ", ".join(shown)


def with_article(noun: str) -> str:
    """Return the noun with its article: 'an optimizer', 'a data set'."""
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{article} {noun}"
