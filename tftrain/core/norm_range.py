"""The range that gradient norms have been in, and which norm is far beyond it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tftrain.core.types import Tensor
from tftrain.core.variables import FIRST

FIRST_LOOK, LOOKS_EVERY = 10, 1000  # steps
_ROOM = 2  # a norm up to so many times the largest of the run is never far beyond
_MOST = float(tf.float32.max)


class NormRange:
    """Owns the least norm that is a spike: `factor` times the recent ones, and beyond all norms of the run so far.

    The second, because a gradient that has become tiny may meet one hard example whose norm is as at the start. Recent
    are the steps since the last look but one, as far as they were applied; the graph takes in each, and the host looks
    at the range at fixed steps. Before the first look, and without a factor, no finite norm is a spike.
    """

    def __init__(self, factor: float | None = None):
        self._factor = factor
        self._now = tf.Variable([np.inf, 0.0], dtype=tf.float32, name="limit_and_peak", **FIRST)  # peak: largest norm
        self._past = tf.Variable([0.0, 0.0], name="peak_before_and_record", **FIRST)

    @property
    def variables(self) -> list[tf.Variable]:
        return [self._now, self._past]

    def holds(self, norm: Tensor) -> Tensor:
        """In the graph, whether the norm is finite, and no spike."""
        if self._factor is None:
            return tf.math.is_finite(norm)
        return norm < tf.raw_ops.ResourceGather(resource=self._now.handle, indices=0, dtype=tf.float32)

    def add(self, norm: Tensor) -> None:
        """In the graph, take in the norm of a step that is applied."""
        if self._factor is not None:
            # One operation for what would be a read, a maximum and an assignment; each replica changes its own.
            raised = norm * tf.constant([self._factor, 1.0])
            tf.raw_ops.ResourceScatterMax(resource=self._now.handle, indices=[0, 1], updates=raised)

    def look(self, step: int) -> int:
        """On the host, look at the range if it is time to, after so many steps; how many more there are to the next.

        To look again at once changes nothing.
        """
        if self._factor is None:
            return LOOKS_EVERY
        if step == FIRST_LOOK or step % LOOKS_EVERY == 0:
            peak, (before, record) = self._now.numpy()[1], self._past.numpy()
            if peak > 0:
                record = max(record, peak)
                self._now.assign([self._most(max(peak, before), _ROOM * float(record)), 0.0])
                self._past.assign([peak, record])
        return FIRST_LOOK - step if step < FIRST_LOOK else LOOKS_EVERY - step % LOOKS_EVERY

    def limit(self) -> float:
        """On the host, the least norm that is a spike."""
        return float(self._now.numpy()[0])

    def is_spike(self, norm: float) -> bool:
        """On the host, of the norm of the last step, which was not applied."""
        return self._factor is not None and self.limit() <= norm < np.inf

    def bear(self, norm: float) -> None:
        """On the host, let norms like this one be no spikes until the next look."""
        limit, peak = self._now.numpy()
        self._now.assign([self._most(norm, limit), peak])

    def _most(self, norm: float, limit: float) -> float:
        return min(max(self._factor * float(norm), float(limit)), _MOST)
