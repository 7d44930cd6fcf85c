"""The clips of a config, each for the parameters that it is limited to."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.config.component import Part
from tftrain.config.error_context import blamed_on, blaming
from tftrain.core.types import Transform
from tftrain.core.variables import Names
from tftrain.optim.chain import chain
from tftrain.optim.limited import limited
from tftrain.trainer.parameter_groups import selected
from tftrain.trainer.user_code import try_transform


def chained(clips: Sequence[Part], names: Names, params: Sequence[tf.Variable]) -> Transform:
    """All clips as one transform; `params` are the trained parameters. Raises InputError or UserCodeError."""
    return chain([(part.name.rpartition(":")[2], _built(part, names, params)) for part in clips])


def _built(part: Part, names: Names, params: Sequence[tf.Variable]) -> Transform:
    indices = selected(part, f"{part.path}.only", part.option("only"), names)
    with blamed_on(part, part.path):
        transform = part.build(names=[names.trained[index] for index in indices])
        if not part.target.startswith("tftrain."):
            try_transform(transform, [params[index] for index in indices])
    if not part.target.startswith("tftrain."):
        transform = transform._replace(update=blaming(transform.update, part))
    return transform if len(indices) == len(params) else limited(transform, indices)
