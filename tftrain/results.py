"""What a run comes to: its curves, the trained model, and the figures at its end."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras

from tftrain.observers.records import Series

Results = dict[str, dict[str, float]]  # by split: the loss and the metrics


class Result(NamedTuple):
    """What a run leaves: its curves, the trained model, the figures at the end, and its folder.

    `history["loss"]` is (steps, values), so that `plt.plot(*result.history["loss"])` draws it.
    """

    history: dict[str, Series]
    model: keras.Model
    results: Results
    folder: Path
    stopped: str | None  # why it ended before its last step, where it did
    failed: bool  # whether that was a NaN or an infinity
