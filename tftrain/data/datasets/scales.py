"""Features of very different size; drawn from the run's seed."""

from __future__ import annotations

import numpy as np

from tftrain.config.field_types import NonNegativeFloat, PositiveFloat, PositiveInt


def large_features(
    examples: PositiveInt = 500,
    features: PositiveInt = 8,
    largest: PositiveFloat = 1000.0,
    noise: NonNegativeFloat = 0.1,
    *,
    seed: int,
):
    """A linear regression on unscaled inputs: x `[examples, features]`, y `[examples, 1]` of the order of 1.

    The features' standard deviations go from 1 to `largest`, that of a single one, in equal ratios, so that of the mean
    squared error of a linear model the curvatures have the ratio `largest ** 2`. `noise` is the standard deviation of
    what is added to y.
    """
    rng = np.random.default_rng(seed)
    plain = rng.normal(0, 1, (examples, features))
    y = plain @ rng.normal(0, features**-0.5, (features, 1)) + rng.normal(0, noise, (examples, 1))
    sizes = np.geomspace(1, largest, features) if features > 1 else largest
    return (plain * sizes).astype(np.float32), y.astype(np.float32)
