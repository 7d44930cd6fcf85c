"""The order in which examples become batches, and where each step stands in its epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class BatchOrder(NamedTuple):
    """Fixes the batches of every epoch: the examples of step k are a function of this record and k alone."""

    examples: int
    batch_size: int
    training: bool  # random preprocessing draws
    seed: int = 0
    shuffle: bool = False
    drop_remainder: bool = False
    shuffle_buffer: int = 1  # examples a stream is shuffled within

    def evaluating(self, batch_size: int, max_in_order: int) -> BatchOrder:
        """Return the order in which the same examples are evaluated: each once.

        Args:
            batch_size: of the batches.
            max_in_order: of more examples the order is drawn from the seed.
        """
        shuffle = self.examples > max_in_order
        size = min(batch_size, self.examples)
        return self._replace(
            batch_size=size,
            training=False,
            shuffle=shuffle,
            drop_remainder=False,
        )

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        full_batches, short = divmod(self.examples, self.batch_size)
        return full_batches + (1 if short and not self.drop_remainder else 0)

    @property
    def is_even(self) -> bool:
        """Whether all batches have the same size."""
        return self.drop_remainder or self.examples % self.batch_size == 0

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and the step's number within it."""
        return divmod(step, self.steps_per_epoch)

    def epoch_seed(self, epoch: int) -> int:
        """Return the seed of an epoch's order."""
        return int(
            np.random.SeedSequence([self.seed, epoch]).generate_state(
                1, np.uint64
            )[0]
            >> 1
        )
