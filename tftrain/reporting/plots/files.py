"""Pictures as PNG files in the run's folder."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tftrain.core.types import Signals
from tftrain.runtime.atomic_files import make_folder, replaced, writing


class Pictures:
    """An observer that writes each image of a point as `NAME-STEP.png` in its folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def __call__(self, step: int, signals: Signals) -> None:
        for name, pixels in signals.images.items():
            path = self._folder / f"{name.rpartition('/')[2]}-{step:08d}.png"
            with writing(path):
                make_folder(self._folder)
            with replaced(path) as aside:
                aside.write_bytes(tf.io.encode_png(pixels).numpy())
