"""Saved models: users' own parts are written with the arguments they were given, and found again when loading."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from tftrain import durable, modules
from tftrain.config import Config
from tftrain.parts import own_parts
from tftrain.run_folder import MODEL


def remember(model: keras.Model, arguments: dict[str, Any]) -> None:
    """Give a subclassed model the configuration that it was made with, unless its class says it itself.

    Keras records the arguments of layers, but not those of models.
    """
    if type(model).get_config is keras.Model.get_config and _is_plain(arguments) and not hasattr(model, "inputs"):
        model.get_config = lambda: dict(arguments)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict)):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, (bool, int, float, str))


def save(model: keras.Model, path: Path) -> None:
    """Write the whole model; where its own code cannot be written, its weights, with a warning that says why.

    The file is there as a whole or not at all.
    """
    weights = path.with_suffix(".weights.h5")
    try:
        _write(path, model.save)
    except Exception as error:  # whatever a user's get_config raises: the training behind it must not be lost
        path.unlink(missing_ok=True)
        _write(weights, model.save_weights)
        why = " ".join(str(error).split("\n\n")[0].split())
        warnings.warn(f"the model cannot be written whole, so only its weights are, as {weights}: {why}", stacklevel=2)


def _write(path: Path, save: Callable[[Path], None]) -> None:
    try:
        save(durable.draft(path))
        durable.settle(path)
    finally:
        durable.draft(path).unlink(missing_ok=True)


def load_model(config: Config, folder: Path, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """The trained model of a run; the parts that its config names are imported, Keras' safe mode stays on.

    `custom_objects` are for what the config does not name, such as a layer used inside a function that makes the model.
    """
    named = {part.target.rpartition(":")[2]: modules.load(part.target) for part in own_parts(config)}
    return keras.models.load_model(folder / MODEL, custom_objects=named | dict(custom_objects or {}))
