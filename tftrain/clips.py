"""The clips of a config, each for the parameters that it is limited to."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.types import Transform
from tftrain.errors import InputError, blamed_on
from tftrain.names import listed
from tftrain.parts import Part
from tftrain.strict import problem
from tftrain.transforms.chain import chain
from tftrain.transforms.limited import limited

_PATH = "gradients.clip"


def chained(clips: Sequence[Part], names: Sequence[str], params: Sequence[tf.Variable]) -> Transform:
    """All clips as one transform; `names` are those of the parameters. Raises InputError or UserCodeError."""
    return chain([(part.name.rpartition(":")[2], _built(part, names, params)) for part in clips])


def _built(part: Part, names: Sequence[str], params: Sequence[tf.Variable]) -> Transform:
    indices = _matching(part, names)
    with blamed_on(part, _PATH):
        transform = part.build(names=[names[index] for index in indices])
        if not isinstance(transform, Transform):
            given = type(transform).__name__
            raise TypeError(f"gave a {given}; expected a Transform(init, update) of tftrain.core.types")
        if not part.target.startswith("tftrain."):
            _try(transform, [params[index] for index in indices])
    return transform if len(indices) == len(names) else limited(transform, indices)


def _matching(part: Part, names: Sequence[str]) -> list[int]:
    only = part.option("only")
    if only is None:
        return list(range(len(names)))
    indices = [index for index, name in enumerate(names) if re.search(only, name)]
    if not indices:
        message = f"given '{only}', which is in no parameter's name; the names are {listed(names)}"
        raise InputError(problem(part.place, f"{_PATH}.only", message))
    return indices


def _try(transform: Transform, params: Sequence[tf.Variable]) -> None:
    """One update of gradients that are zero: in the compiled step a fault would look like the model's."""
    after, _, _ = transform.update([tf.zeros(param.shape) for param in params], transform.init(params), params)
    found, expected = ([tuple(one.shape) for one in some] for some in (after, params))
    if found != expected:
        raise ValueError(
            f"gave gradients of the shapes {listed(map(str, found))}; expected {listed(map(str, expected))}"
        )
