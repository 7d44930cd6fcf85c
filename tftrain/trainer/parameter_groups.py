"""Parameters picked by a pattern in their names."""

from __future__ import annotations

import re

from tftrain.config.protocols import ComponentLike
from tftrain.config.yaml_parser import format_error
from tftrain.core.variables import Names
from tftrain.runtime.errors import InputError
from tftrain.runtime.names import join_names


def match_parameters(
    part: ComponentLike, path: str, pattern: str | None, names: Names
) -> list[int]:
    """Return the positions of the trained parameters in whose names a pattern is found; all where there is none.

    Raises InputError, with the place of the part and the key path of the pattern, where it is in none of their names.

    Args:
        part: that has the pattern.
        path: the key path of the pattern.
        pattern: a regular expression.
        names: those of the parameters.
    """
    matches = [
        index
        for index, name in enumerate(names.trained)
        if pattern is None or re.search(pattern, name)
    ]
    if matches:
        return matches
    frozen = [name for name in names.frozen if re.search(pattern, name)]
    if frozen:
        missed = f"only in names of frozen parameters ({join_names(frozen)}); those that are trained"
    else:
        missed = "in no parameter's name; the names"
    raise InputError(
        format_error(
            part.place,
            path,
            f"given '{pattern}', which is {missed} are {join_names(names.trained)}",
        )
    )
