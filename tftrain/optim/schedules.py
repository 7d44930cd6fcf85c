"""Learning rates that go by the step, by the gradient norm, or by what was logged; `then` is the rate they change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import tensorflow as tf

from tftrain.config.field_types import (
    AboveOne,
    Duration,
    LearningRate,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Share,
)
from tftrain.core.types import Rate, Tensor, Tree
from tftrain.runtime.metric_mode import metric_mode


def constant(value: float) -> Rate:
    """One rate for the whole run."""
    return scheduled(lambda step: value)


def scheduled(schedule: Callable[[Tensor], Tensor]) -> Rate:
    """A rate that is a function of the step alone, such as a Keras schedule; the first step is 0.

    The function is given the step as float32, so that Python's arithmetic works on it.
    """

    def update(state, step, grad_norm):
        return tf.cast(schedule(tf.cast(step, tf.float32)), tf.float32), state

    return Rate(lambda: (), update)


def as_rate(rate: Any) -> Rate:
    """A number or a function of the step, such as a Keras schedule, as a rate; a rate stays what it is."""
    if isinstance(rate, Rate):
        return rate
    if callable(rate):
        return scheduled(rate)
    if hasattr(rate, "__float__"):
        return constant(rate)
    expected = "a number, a function of the step, a Keras schedule or a tftrain.core.types.Rate"
    raise ValueError(
        f"a learning rate is given as {rate!r}; expected {expected}"
    )


def warmup(steps: Duration, then: LearningRate) -> Rate:
    """A linear climb over `steps` steps to the first rate of `then`, which takes over from there.

    Step s of the climb has (s + 1) / steps of that rate (Goyal et al., 2017, section 2.2).

    Args:
        steps: of the climb.
        then: the rate that takes over, a number or a schedule.
    """

    then = as_rate(then)

    def update(state, step, grad_norm):
        rate, state = then.update(state, tf.maximum(step - steps, 0), grad_norm)
        climbed = tf.cast(step + 1, tf.float32) / tf.cast(steps, tf.float32)
        return rate * tf.minimum(climbed, 1.0), state

    return then._replace(update=update)


def inverse_norm(
    then: LearningRate,
    least: NonNegativeFloat = 0.1,
    most: NonNegativeFloat = 10.0,
    decay: Share = 0.99,
) -> Rate:
    """`then` divided by a running mean of the global gradient norm, held between `least` and `most` times `then`.

    Normalized gradient descent (Hazan et al., 2015, algorithm 1) divides by the norm itself, which is `decay` 0. Raises
    ValueError where the bounds are not in order.

    Args:
        then: the rate that is divided, a number or a schedule.
        least: the smallest factor.
        most: the largest factor.
        decay: of the running mean.
    """
    if least > most:
        raise ValueError(f"least {least} is above most {most}")

    def change(mean, rate, grad_norm):
        # A step that is not finite is not applied, but its rate is shown.
        mean = mean.after(
            tf.where(tf.math.is_finite(grad_norm), grad_norm, mean.value()),
            decay,
        )
        return rate * tf.clip_by_value(1 / mean.value(), least, most), mean

    return wrap(then, RunningMean.empty, change)


def backoff(
    steps: Duration,
    then: LearningRate,
    threshold: AboveOne = 3.0,
    factor: Share = 0.1,
    decay: Share = 0.99,
) -> Rate:
    """`then`, cut to `factor` of itself when the gradient norm spikes, from where it climbs back over `steps` steps.

    A spike is a global norm above `threshold` times the running mean of those before it. Its own step is cut already,
    another one starts the climb again, and the mean counts it as large as the threshold, so that it adapts to a norm
    that stays high. Compare Huang et al. (2025), who warm up again after resetting Adam's moments.

    Args:
        steps: of the climb.
        then: the rate that is cut, a number or a schedule.
        threshold: a norm so many times the running mean is a spike.
        factor: what the rate is multiplied by at a spike.
        decay: of the running mean.
    """

    def change(state, rate, grad_norm):
        mean, left = state
        # Before the first norm, and after nothing but zeros, there is no usual size to be above.
        limit = tf.where(mean.value() > 0, threshold * mean.value(), math.inf)
        left = tf.where(
            grad_norm > limit,
            tf.constant(steps, tf.int64),
            tf.maximum(left - 1, 0),
        )
        cut = (
            (1 - factor)
            * tf.cast(left, tf.float32)
            / tf.cast(steps, tf.float32)
        )
        return rate * (1 - cut), (
            mean.after(tf.minimum(grad_norm, limit), decay),
            left,
        )

    return wrap(
        then, lambda: (RunningMean.empty(), tf.constant(0, tf.int64)), change
    )


def plateau(
    then: LearningRate,
    monitor: str = "val_loss",
    factor: Share = 0.1,
    patience: PositiveInt = 5,
    min_delta: NonNegativeFloat = 0.0,
    cooldown: NonNegativeInt = 0,
    least: NonNegativeFloat = 0.0,
    mode: Literal["auto", "min", "max"] = "auto",
) -> Rate:
    """`then`, multiplied by `factor` each time a logged scalar has not got better for `patience` looks.

    Counts as Keras' ReduceLROnPlateau does, but a look is a step at which the scalar was logged, and what is not
    finite is never better. After a cut, `cooldown` looks are not counted. No cut takes the rate below `least`.

    Args:
        then: the rate that is cut, a number or a schedule.
        monitor: the scalar, such as `val_loss`.
        factor: what the rate is multiplied by.
        patience: evaluations without an improvement.
        min_delta: an improvement is more than this.
        cooldown: evaluations after a cut that do not count.
        least: no cut takes the rate below it.
        mode: `min`, `max`, or `auto` for what the name tells.
    """
    sign = 1.0 if metric_mode(monitor, mode) == "min" else -1.0

    def change(watch, rate, grad_norm):
        return tf.maximum(rate * watch.scale, tf.minimum(rate, least)), watch

    def heed(watch, scalars):
        if monitor not in scalars:
            return watch
        value = sign * float(scalars[monitor])
        cooling = max(watch.cooling - 1, 0)
        if math.isfinite(value) and value < watch.best - min_delta:
            return watch._replace(best=value, waited=0, cooling=cooling)
        waited = 0 if cooling else watch.waited + 1
        if waited < patience:
            return watch._replace(waited=waited, cooling=cooling)
        return watch._replace(
            scale=watch.scale * factor, waited=0, cooling=cooldown
        )

    return wrap(then, PlateauState.begun, change, heed)


class RunningMean(NamedTuple):
    """A mean that forgets, corrected for its start at zero (Kingma and Ba, 2015, section 3); 0 before any value."""

    total: Tensor
    weight: Tensor  # of the values so far, 1 - decay^count

    @classmethod
    def empty(cls) -> RunningMean:
        """Return the mean of nothing."""
        return cls(tf.constant(0.0), tf.constant(0.0))

    def value(self) -> Tensor:
        """Return the mean, 1 while there is none."""
        return tf.math.divide_no_nan(self.total, self.weight)

    def after(self, value: Tensor, decay: float) -> RunningMean:
        """Return the mean with one more value.

        Args:
            value: a scalar.
            decay: of the older values.
        """
        return RunningMean(
            decay * self.total + (1 - decay) * value,
            decay * self.weight + (1 - decay),
        )


class PlateauState(NamedTuple):
    """What `plateau` knows of its scalar."""

    scale: Tensor  # what the rate is multiplied by
    best: Tensor  # negated where more is better; float64, for a rounded best would be improved upon by itself
    waited: Tensor  # looks since it got better
    cooling: Tensor  # looks that are not counted

    @classmethod
    def begun(cls) -> PlateauState:
        """Return the state before the first value."""
        none = tf.constant(0, tf.int64)
        return cls(
            tf.constant(1.0), tf.constant(math.inf, tf.float64), none, none
        )


def wrap(
    then: LearningRate,
    init: Callable[[], Tree],
    change: Callable[[Tree, Tensor, Tensor], tuple[Tensor, Tree]],
    heed: Callable[[Tree, dict[str, float]], Tree] | None = None,
) -> Rate:
    """Return a rate that changes another one; its state comes first, then that of the other.

    Args:
        then: the other rate, a number or a schedule.
        init: makes the first state.
        change: a function of the state, the other rate and the gradient norm; it returns the rate and the next
            state.
        heed: a function of the state and logged scalars, on the host; it returns the next state.
    """
    then = as_rate(then)

    def update(state, step, grad_norm):
        rate, beneath = then.update(state[1], step, grad_norm)
        rate, own_state = change(state[0], rate, grad_norm)
        return rate, (own_state, beneath)

    def hear(state, scalars):
        own_state, beneath = state
        return heed(own_state, scalars) if heed else own_state, then.heed(
            beneath, scalars
        ) if then.heed else beneath

    return Rate(
        lambda: (init(), then.init()),
        update,
        hear if heed or then.heed else None,
    )
