"""An extension of Griffe: the fields of a NamedTuple are its parameters, as those of a dataclass are.

So `Args:` in the docstring of a NamedTuple is checked and shown like that of a function.
"""

from __future__ import annotations

from typing import Any

import griffe


class NamedTupleParameters(griffe.Extension):
    """Gives each class that derives from NamedTuple directly an `__init__` with its fields."""

    def on_class_members(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Called by Griffe once the members of a class are known."""
        if "NamedTuple" not in map(str, cls.bases) or "__init__" in cls.members:
            return
        parameters = [
            griffe.Parameter(
                name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.positional_or_keyword,
                default=field.value,
            )
            for name, field in cls.members.items()
            if field.is_attribute and field.annotation is not None
        ]
        init = griffe.Function(
            "__init__",
            lineno=0,
            endlineno=0,
            parent=cls,
            parameters=griffe.Parameters(*parameters),
            returns="None",
        )
        cls.set_member("__init__", init)
