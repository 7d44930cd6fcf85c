"""Several transforms as one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tftrain.core.numerics import global_norm, square_sums
from tftrain.core.types import Tensor, Transform


def chain(stages: Sequence[tuple[str, Transform]]) -> Transform:
    """The stages in order, each by its name; no stages leave the gradients as they are.

    What a stage tells of itself (see `measured`) is called `clip/<name>/...`, a second stage of one name `<name>_2`.
    `clip_rate` is 1 where any stage `clipped`.
    """
    names = _number_names([name for name, _ in stages])
    transforms = [with_norms(transform) for _, transform in stages]

    def init(params):
        return tuple(transform.init(params) for transform in transforms)

    def update(grads, states, params):
        next_states, scalars, clipped = [], {}, []
        for name, transform, state in zip(
            names, transforms, states, strict=True
        ):
            grads, state, stage_scalars = transform.update(grads, state, params)
            next_states.append(state)
            clipped.append(stage_scalars["clipped"])
            scalars |= {
                f"clip/{name}/{key}": value
                for key, value in stage_scalars.items()
            }
        return grads, tuple(next_states), scalars | _clip_rate(clipped)

    return Transform(init, update)


def _clip_rate(clipped: list[Tensor]) -> dict[str, Tensor]:
    return {"clip_rate": tf.reduce_max(tf.stack(clipped))} if clipped else {}


def _number_names(names: list[str]) -> list[str]:
    numbered = []
    for index, name in enumerate(names):
        times = names[: index + 1].count(name)
        numbered.append(f"{name}_{times}" if times > 1 else name)
    return numbered


def masked(transform: Transform, indices: Sequence[int]) -> Transform:
    """Return a transform of some of the parameters; the gradients of the others pass unchanged.

    Args:
        transform: it sees these parameters alone.
        indices: which.
    """
    transform = with_norms(transform)

    def init(params):
        return transform.init([params[index] for index in indices])

    def update(grads, state, params):
        chosen, chosen_params = (
            [grads[index] for index in indices],
            [params[index] for index in indices],
        )
        changed, state, scalars = transform.update(chosen, state, chosen_params)
        by_index = dict(zip(indices, changed, strict=True))
        return (
            [by_index.get(index, grad) for index, grad in enumerate(grads)],
            state,
            scalars,
        )

    return Transform(init, update)


def with_norms(transform: Transform) -> Transform:
    """The transform, telling its global norms and what it did to them, beside all that it tells itself.

    `norm_before`, `norm_after`, `factor` (their ratio) and `clipped` (1 where the gradients got shorter, else 0); what
    the transform tells under one of these names stands.
    """

    def update(grads, state, params):
        changed, state, scalars = transform.update(grads, state, params)
        # The norm after one stage is that before the next; both are computed once, for the graph optimizer merges them.
        norms = _norm_scalars(
            global_norm(square_sums(grads)), global_norm(square_sums(changed))
        )
        return (
            changed,
            state,
            {
                name: tf.cast(value, tf.float32)
                for name, value in (norms | scalars).items()
            },
        )

    return Transform(transform.init, update)


def _norm_scalars(norm_before: Tensor, norm_after: Tensor) -> dict[str, Tensor]:
    ratio = tf.where(
        (norm_before == 0) & (norm_after == 0), 1.0, norm_after / norm_before
    )
    return {
        "norm_before": norm_before,
        "norm_after": norm_after,
        "factor": ratio,
        "clipped": norm_after < norm_before,
    }
