"""A user's own pictures."""

import numpy as np


def stripes(scene, shade: int = 100, breaks_at: int = 10**9):
    """A grey image, as bright as asked."""
    if scene.step >= breaks_at:
        raise ZeroDivisionError("the painter is gone")
    return np.full((4, 5, 3), shade, np.uint8)


def number(scene):
    return scene.step
