"""Models of a user's own whose loss does not reach all of their parameters."""

from __future__ import annotations

import keras


class Partly(keras.Model):
    def __init__(self, *, outputs):
        super().__init__()
        self.spare, self.last = (
            keras.layers.Dense(2, name="spare"),
            keras.layers.Dense(outputs, name="last"),
        )

    def call(self, x):
        self.spare(x)
        return self.last(x)


class Never(Partly):
    def call(self, x):
        return keras.ops.stop_gradient(self.last(self.spare(x)))
