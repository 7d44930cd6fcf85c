"""Reads a config file into a checked `Config`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tftrain.config.compose import read_config, to_overrides
from tftrain.config.importing import see_working_directory
from tftrain.config.schema import Config
from tftrain.config.validation import validate


def load_config(
    path: str | os.PathLike, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Config:
    """Read and check a config file; TensorFlow is not imported.

    Args:
        path: the YAML file.
        overrides: what `--set` takes, such as `["training.epochs=3"]`, or `{"training.epochs": 3}`.

    Raises:
        tftrain.ConfigError: the problems of the file, one line each.
    """
    see_working_directory()
    file = Path(path)
    return validate(read_config(file, to_overrides(overrides)), file.stem)
