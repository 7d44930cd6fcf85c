"""The clips of a config, each for the parameters that it is limited to."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.parameters import Names
from tftrain.core.types import Transform
from tftrain.errors import blamed_on
from tftrain.names import listed
from tftrain.parts import Part
from tftrain.selection import selected
from tftrain.transforms.chain import chain
from tftrain.transforms.limited import limited


def chained(clips: Sequence[Part], names: Names, params: Sequence[tf.Variable]) -> Transform:
    """All clips as one transform; `params` are the trained parameters. Raises InputError or UserCodeError."""
    return chain([(part.name.rpartition(":")[2], _built(part, names, params)) for part in clips])


def _built(part: Part, names: Names, params: Sequence[tf.Variable]) -> Transform:
    indices = selected(part, f"{part.path}.only", part.option("only"), names)
    with blamed_on(part, part.path):
        transform = part.build(names=[names.trained[index] for index in indices])
        if not isinstance(transform, Transform):
            given = type(transform).__name__
            raise TypeError(f"gave a {given}; expected a Transform(init, update) of tftrain.core.types")
        if not part.target.startswith("tftrain."):
            _try(transform, [params[index] for index in indices])
    return transform if len(indices) == len(params) else limited(transform, indices)


def _try(transform: Transform, params: Sequence[tf.Variable]) -> None:
    """One update of gradients that are zero: in the compiled step a fault would look like the model's."""
    after, _, _ = transform.update([tf.zeros(param.shape) for param in params], transform.init(params), params)
    found, expected = ([tuple(one.shape) for one in some] for some in (after, params))
    if found != expected:
        raise ValueError(
            f"gave gradients of the shapes {listed(map(str, found))}; expected {listed(map(str, expected))}"
        )
