"""Parameters picked by a pattern in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tftrain.errors import InputError
from tftrain.names import listed
from tftrain.strict import problem

if TYPE_CHECKING:
    from tftrain.parts import Part


def selected(part: Part, path: str, pattern: str | None, names: Sequence[str]) -> list[int]:
    """The positions of the names in which the pattern is found, all where there is none.

    Raises InputError, with the place of the part and the key path of the pattern, where it is in no name.
    """
    found = [index for index, name in enumerate(names) if pattern is None or re.search(pattern, name)]
    if not found:
        message = f"given '{pattern}', which is in no parameter's name; the names are {listed(names)}"
        raise InputError(problem(part.place, path, message))
    return found
