"""The clips of a config, each for the parameters that it is limited to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tftrain.core.types import Transform
from tftrain.errors import InputError, blamed_on
from tftrain.names import listed
from tftrain.parts import Part
from tftrain.strict import problem
from tftrain.transforms.chain import chain
from tftrain.transforms.limited import limited

_PATH = "gradients.clip"


def chained(clips: Sequence[Part], names: Sequence[str]) -> Transform:
    """All clips as one transform; `names` are those of the parameters. Raises InputError."""
    return chain([(part.name.rpartition(":")[2], _built(part, names)) for part in clips])


def _built(part: Part, names: Sequence[str]) -> Transform:
    indices = _matching(part, names)
    with blamed_on(part, _PATH):
        transform = part.build(names=[names[index] for index in indices])
        if not isinstance(transform, Transform):
            given = type(transform).__name__
            message = f"{part.name} gave a {given}; expected a Transform(init, update) of tftrain.core.types"
            raise InputError(problem(part.place, _PATH, message))
    transform = _blamed(transform, part)
    return transform if len(indices) == len(names) else limited(transform, indices)


def _matching(part: Part, names: Sequence[str]) -> list[int]:
    only = part.option("only")
    if only is None:
        return list(range(len(names)))
    indices = [index for index, name in enumerate(names) if re.search(only, name)]
    if not indices:
        message = f"given '{only}', which is found in no parameter's name: {listed(names)}"
        raise InputError(problem(part.place, f"{_PATH}.only", message))
    return indices


def _blamed(transform: Transform, part: Part) -> Transform:
    """The transform whose faults are told with the place of its clip, and not with the model's."""

    def init(params):
        with blamed_on(part, _PATH):
            return transform.init(params)

    def update(grads, state, params):
        with blamed_on(part, _PATH):
            grads, state, told = transform.update(grads, state, params)
            return grads, state, told

    return Transform(init, update)
