"""Several transforms as one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.types import Tensor, Transform
from tftrain.optim.measured import measured


def chain(stages: Sequence[tuple[str, Transform]]) -> Transform:
    """The stages in order, each by its name; no stages leave the gradients as they are.

    What a stage tells of itself (see `measured`) is called `clip/<name>/...`, a second stage of one name `<name>_2`.
    `clip_rate` is 1 where any stage `clipped`.
    """
    names = _numbered([name for name, _ in stages])
    transforms = [measured(transform) for _, transform in stages]

    def init(params):
        return tuple(transform.init(params) for transform in transforms)

    def update(grads, states, params):
        after, scalars, clipped = [], {}, []
        for name, transform, state in zip(names, transforms, states, strict=True):
            grads, state, told = transform.update(grads, state, params)
            after.append(state)
            clipped.append(told["clipped"])
            scalars |= {f"clip/{name}/{key}": value for key, value in told.items()}
        return grads, tuple(after), scalars | _rate(clipped)

    return Transform(init, update)


def _rate(clipped: list[Tensor]) -> dict[str, Tensor]:
    return {"clip_rate": tf.reduce_max(tf.stack(clipped))} if clipped else {}


def _numbered(names: list[str]) -> list[str]:
    numbered = []
    for index, name in enumerate(names):
        times = names[: index + 1].count(name)
        numbered.append(f"{name}_{times}" if times > 1 else name)
    return numbered
