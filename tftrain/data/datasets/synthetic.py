"""Points in the plane, in two classes that no straight line parts; drawn from the run's seed."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tftrain.config.field_types import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Range,
)


def blobs(
    examples: Annotated[int, Range(4)] = 400,
    spread: PositiveFloat = 0.3,
    radius: PositiveFloat = 2.0,
    *,
    seed: int,
):
    """An island: half of the points, labeled 1, are a cloud around the origin, and the others a ring around it.
    The points x are `[examples, 2]`.

    Args:
        examples: how many points.
        spread: the standard deviation of the cloud and of the ring's width.
        radius: that of the ring.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(examples) % 2
    angle = rng.uniform(0, 2 * np.pi, examples)
    ring = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    centers = np.where(y[:, np.newaxis] == 1, 0, ring)
    return _add_noise(centers, spread, rng), y


def xor_blobs(
    examples: Annotated[int, Range(4)] = 400,
    spread: PositiveFloat = 0.2,
    *,
    seed: int,
):
    """Four clouds around the points of XOR, (0, 0), (0, 1), (1, 0) and (1, 1), labeled as these; x `[examples, 2]`.

    Args:
        examples: how many points.
        spread: the standard deviation of a cloud.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    corner = np.arange(examples) % 4
    centers = np.stack([corner // 2, corner % 2], 1)
    y = centers[:, 0] ^ centers[:, 1]
    return _add_noise(centers, spread, rng), y


def moons(
    examples: Annotated[int, Range(4)] = 400,
    noise: NonNegativeFloat = 0.1,
    *,
    seed: int,
):
    """Two half circles of radius 1 that reach into each other; x `[examples, 2]`.

    Args:
        examples: how many points.
        noise: the standard deviation of what is added to each coordinate.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(examples) % 2
    angle = rng.uniform(0, np.pi, examples)
    upper = np.stack([np.cos(angle), np.sin(angle)])
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)])
    x = np.where(y == 0, upper, lower).T
    return _add_noise(x, noise, rng), y


def spirals(
    examples: Annotated[int, Range(4)] = 400,
    turns: PositiveFloat = 1.5,
    noise: NonNegativeFloat = 0.03,
    *,
    seed: int,
):
    """Two spirals wound around each other, from the origin to radius 1; x `[examples, 2]`.

    A benchmark of K. Lang and M. Witbrock, "Learning to Tell Two Spirals Apart", 1988.

    Args:
        examples: how many points.
        turns: of each spiral.
        noise: the standard deviation of what is added to each coordinate.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(examples) % 2
    radius = rng.uniform(0, 1, examples)
    angle = 2 * np.pi * turns * radius + np.pi * y
    x = radius * np.stack([np.cos(angle), np.sin(angle)])
    return _add_noise(x.T, noise, rng), y


def _add_noise(
    points: np.ndarray, deviation: float, rng: np.random.Generator
) -> np.ndarray:
    noise = rng.normal(0, deviation, points.shape)
    return (points + noise).astype(np.float32)


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
    squared error of a linear model the curvatures have the ratio `largest ** 2`.

    Args:
        examples: how many.
        features: how many.
        largest: the standard deviation of the largest feature.
        noise: the standard deviation of what is added to y.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    plain = rng.normal(0, 1, (examples, features))
    weights = rng.normal(0, features**-0.5, (features, 1))
    y = plain @ weights + rng.normal(0, noise, (examples, 1))
    sizes = np.geomspace(1, largest, features) if features > 1 else largest
    x = plain * sizes
    return x.astype(np.float32), y.astype(np.float32)


def xor():
    """Exclusive or: four points, labeled 1 where exactly one of the two inputs is 1."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return x, np.array([0, 1, 1, 0])


def points(x: list[float], y: list[float]):
    """Points that the config writes out: numbers x `[points, 1]` and their targets y.

    Args:
        x: numbers.
        y: their targets.
    """
    return np.array(x, np.float32)[:, np.newaxis], np.array(y, np.float32)
