"""tftrain: train Keras models from a YAML file and see their gradients in TensorBoard.

`load(path, overrides)` gives a checked config, `train(config)` runs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tftrain.config import Config
from tftrain.strict import ConfigError

if TYPE_CHECKING:
    from tftrain.session import Result

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError", "load", "train"]


def load(path: str | os.PathLike, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Config:
    """Read and check a config file; TensorFlow is not imported.

    Args:
        path: the YAML file.
        overrides: what `--set` takes, such as `["training.epochs=3"]`, or `{"training.epochs": 3}`.

    Raises:
        ConfigError: every problem of the file, a line each.
    """
    from tftrain.check import check
    from tftrain.compose import compose, flags

    return check(compose(Path(path), flags(overrides)), Path(path).stem)


def train(config: Config, run_dir: str | os.PathLike | None = None, resume: bool = False) -> Result:
    """Train, and return the history as arrays, the model, the results and the run's folder.

    Args:
        config: what `load` gives.
        run_dir: the run's folder; `runs/NAME-TIME` where it is not given.
        resume: go on from the last checkpoint in `run_dir`, or start if there is none.
    """
    from tftrain.session import run  # TensorFlow is imported here, not by `import tftrain`

    return run(config, None if run_dir is None else Path(run_dir), resume)
