"""Labels along lines, where they cover as little of other labels as can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Shares of its line at which a label may be.
_SHARES = np.linspace(0.2, 0.8, 25)
_ROUNDS = 4
# Pixels that stay free around a label.
_GAP = 4.0
# A line counts as this many square points that a label may cover, with half their side in pixels.
_POINTS = 80
_POINT = 3.0


def place_along(
    labels: Sequence[Any], lines: Sequence[tuple], taken: Sequence[Any]
) -> None:
    """Move each label to a place on its line where it covers least of the others and of what is `taken`.

    Args:
        labels: Matplotlib texts with their centre as their position, all of one figure.
        lines: of each label the line it may stand on, (start, end) in the coordinates of its axes.
        taken: other artists of the figure that are not to be covered.
    """
    if not labels:
        return
    figure = labels[0].figure
    figure.draw_without_rendering()  # where things are is known when the layout is
    occupied = [_pixel_box(artist) for artist in taken]
    boxes = [_pixel_box(label) for label in labels]
    to_pixels = labels[0].axes.transData.transform
    ends = [tuple(to_pixels(end) for end in line) for line in lines]
    points = [
        start + np.linspace(0, 1, _POINTS)[:, None] * (end - start)
        for start, end in ends
    ]
    drawn = [
        np.concatenate([line - _POINT, line + _POINT], axis=1)
        for line in points
    ]
    positions = [label.get_position() for label in labels]
    for _ in range(_ROUNDS):
        for index, (start, end) in enumerate(ends):
            obstacles = [*occupied, *boxes[:index], *boxes[index + 1 :]]
            obstacles = np.concatenate(
                [
                    np.reshape(obstacles, (-1, 4)),
                    *drawn[:index],
                    *drawn[index + 1 :],
                ]
            )
            half = (boxes[index][2:] - boxes[index][:2]) / 2
            centres = start + _SHARES[:, None] * (end - start)
            candidates = np.concatenate(
                [centres - half, centres + half], axis=1
            )
            # Of places as good as one another the one nearest to the middle.
            covered = _overlap_areas(candidates, obstacles) + abs(_SHARES - 0.5)
            best = int(np.argmin(covered))
            boxes[index] = candidates[best]
            first, last = np.array(lines[index])
            positions[index] = tuple(first + _SHARES[best] * (last - first))
    for label, position in zip(labels, positions, strict=True):
        label.set_position(position)


def _pixel_box(artist: Any) -> np.ndarray:
    """Left, bottom, right and top of an artist in pixels."""
    extent = artist.get_window_extent()
    return np.array(
        [extent.x0 - _GAP, extent.y0 - _GAP, extent.x1 + _GAP, extent.y1 + _GAP]
    )


def _overlap_areas(boxes: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """The area that each box has in common with the others, in square pixels, [boxes]."""
    low = np.maximum(boxes[:, None, :2], obstacles[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], obstacles[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2).sum(axis=1)
