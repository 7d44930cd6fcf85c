"""Pictures as PNG files in the run's folder."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tftrain.core.types import LogData
from tftrain.runtime.atomic_files import (
    atomic_path,
    make_folder,
    raising_write_error,
)


class PlotFiles:
    """An observer that writes each image of a point as `NAME-STEP.png` in its folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def __call__(self, step: int, signals: LogData) -> None:
        for name, pixels in signals.images.items():
            path = self._folder / f"{name.rpartition('/')[2]}-{step:08d}.png"
            with raising_write_error(path):
                make_folder(self._folder)
            with atomic_path(path) as aside:
                aside.write_bytes(tf.io.encode_png(pixels).numpy())
