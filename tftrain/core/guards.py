"""The range that gradient norms have been in, and which norm is far beyond it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor
from tftrain.core.variables import ON_FIRST_REPLICA

FIRST_LOOK, LOOKS_EVERY = 10, 1000  # steps
NEW_RANGE_SPIKES, NEW_RANGE_STEPS = (
    3,
    10,
)  # so many spikes within so many steps are a new range, not accidents
_ROOM = (
    2  # a norm up to so many times the largest of the run is never far beyond
)
_TOLERANCE = NEW_RANGE_SPIKES  # its row behind those of the spikes
_MOST = float(tf.float32.max)


class SpikeDetector:
    """Owns the least norm that is a spike: `factor` times the recent ones, and beyond all norms of the run so far.

    The second, because a gradient that has become tiny may meet one hard example whose norm is as at the start. Recent
    are the steps since the last look but one, as far as they were applied; the graph takes in each, and the host looks
    at the range at fixed steps. Before the first look, and without a factor, no finite norm is a spike.

    A spike leaves the limit as it is: it says nothing of the steps that follow. Only `NEW_RANGE_SPIKES` of them within
    `NEW_RANGE_STEPS` steps may be a new range: norms up to twice theirs are then tolerated for as many steps. One that
    is applied belongs to the range like any other; where there is none, the old limit is back.
    """

    def __init__(self, factor: float | None = None):
        self._factor = factor
        self._now = tf.Variable(
            [np.inf, 0.0],
            dtype=tf.float32,
            name="limit_and_peak",
            **ON_FIRST_REPLICA,
        )  # peak: largest norm
        self._past = tf.Variable(
            [0.0, 0.0], name="peak_before_and_record", **ON_FIRST_REPLICA
        )
        # The last spikes, [step, norm] each, the oldest first; then the last step that tolerates their like, 0 for
        # none, and the limit before.
        self._spikes = tf.Variable(
            np.zeros((NEW_RANGE_SPIKES + 1, 2)),
            name="spikes_and_tolerance",
            **ON_FIRST_REPLICA,
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the detector, in the order of a checkpoint."""
        return [self._now, self._past, self._spikes]

    def holds(self, norm: Tensor) -> Tensor:
        """In the graph, whether the norm is finite, and no spike."""
        if self._factor is None:
            return tf.math.is_finite(norm)
        return norm < tf.raw_ops.ResourceGather(
            resource=self._now.handle, indices=0, dtype=tf.float32
        )

    def add(self, norm: Tensor) -> None:
        """In the graph, take in the norm of a step that is applied."""
        if self._factor is not None:
            # One operation for what would be a read, a maximum and an assignment; each replica changes its own.
            raised = norm * tf.constant([self._factor, 1.0])
            tf.raw_ops.ResourceScatterMax(
                resource=self._now.handle, indices=[0, 1], updates=raised
            )

    def look(self, step: int) -> int:
        """On the host, look at the range if it is time to, after so many steps; how many more there are to the next.

        To look again at once changes nothing.
        """
        if self._factor is None:
            return LOOKS_EVERY
        until, limit_before = self._spikes.numpy()[_TOLERANCE]
        if 0 < until <= step:
            self._end_tolerance(limit_before)
        if step == FIRST_LOOK or step % LOOKS_EVERY == 0:
            self._set_limit()
        until = self._spikes.numpy()[_TOLERANCE, 0]
        next_look = (
            FIRST_LOOK
            if step < FIRST_LOOK
            else (step // LOOKS_EVERY + 1) * LOOKS_EVERY
        )
        if step < until < next_look:
            return int(until) - step
        return next_look - step

    def _set_limit(self) -> None:
        peak, (previous_peak, record) = self._now.numpy()[1], self._past.numpy()
        if peak > 0:
            record = max(record, peak)
            self._now.assign(
                [
                    self._raised_limit(
                        max(peak, previous_peak), _ROOM * float(record)
                    ),
                    0.0,
                ]
            )
            self._past.assign([peak, record])
            self._forget_tolerance()

    def _end_tolerance(self, limit_before: float) -> None:
        peak = self._now.numpy()[1]
        if peak < limit_before:  # no such norm has come again
            self._now.assign([self._raised_limit(peak, limit_before), peak])
        self._forget_tolerance()

    def _forget_tolerance(self) -> None:
        spikes = self._spikes.numpy()
        spikes[_TOLERANCE] = 0
        self._spikes.assign(spikes)

    def limit(self) -> float:
        """On the host, the least norm that is a spike."""
        return float(self._now.numpy()[0])

    def is_spike(self, norm: float) -> bool:
        """On the host, of the norm of the last step, which was not applied."""
        return self._factor is not None and self.limit() <= norm < np.inf

    def add_spike(self, step: int, norm: float) -> None:
        """On the host, take in the norm of a step that was a spike, and was not applied; the first step is 1.

        Args:
            step: its number; the first step is 1.
            norm: that of its gradients.
        """
        limit, peak = self._now.numpy()
        table = self._spikes.numpy()
        table[:_TOLERANCE] = [*table[1:_TOLERANCE], (step, norm)]
        spikes = table[:_TOLERANCE]
        if spikes[0, 0] > max(0, step - NEW_RANGE_STEPS):
            limit_before = table[_TOLERANCE, 1] or limit
            table[_TOLERANCE] = step + NEW_RANGE_STEPS, limit_before
            self._now.assign(
                [min(_ROOM * float(spikes[:, 1].max()), _MOST), peak]
            )
        self._spikes.assign(table)

    def _raised_limit(self, norm: float, limit: float) -> float:
        """A limit of `factor` times the norm, or a larger one."""
        return min(max(self._factor * float(norm), float(limit)), _MOST)


START, LEAST, MOST = 2.0**15, 1.0, 2.0**40
GROWTH_STEPS = 2000  # good steps after which twice the scale is tried


class LossScale:
    """Halves when a gradient overflows, doubles after many good steps (Micikevicius et al., 2018, section 3.2).

    A power of two, so that scaling and dividing back change no bit of a number that does not overflow or vanish.
    """

    def __init__(self, growth_steps: int = GROWTH_STEPS):
        self.value = tf.Variable(START, name="loss_scale", **ON_FIRST_REPLICA)
        self.good_steps = tf.Variable(
            0, dtype=tf.int64, name="good_steps", **ON_FIRST_REPLICA
        )
        self._growth_steps = growth_steps

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the scale, in the order of a checkpoint."""
        return [self.value, self.good_steps]

    def update(self, loss: Tensor, finite: Tensor) -> None:
        """Update the scale after a step.

        A loss that is not finite leaves the scale as it is: no smaller one would have helped.

        Args:
            loss: that of the step.
            finite: whether its gradients were finite.
        """
        good = self.good_steps.read_value() + 1
        grown, scale = good >= self._growth_steps, self.value.read_value()
        larger = tf.where(grown, tf.minimum(scale * 2, MOST), scale)
        smaller = tf.where(
            tf.math.is_finite(loss), tf.maximum(scale / 2, LEAST), scale
        )
        self.value.assign(tf.where(finite, larger, smaller))
        self.good_steps.assign(tf.where(finite & ~grown, good, 0))
